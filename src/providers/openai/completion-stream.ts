/**
 * The chunks of a streamed chat completion, put together. Source:
 * https://developers.openai.com/api/reference/resources/chat/subresources/completions/streaming-events
 *
 * - S2 A completion is complete once the stream said `[DONE]` after a finish_reason. The usage comes between the two.
 */
import { z } from 'zod'
import type { Progress } from '../contract.js'
import { CompletionUsage, type Completion } from './completion-object.js'
import { codeOfError } from './refusals.js'
import { createStreamProgress } from './stream-progress.js'
import type { StreamReader } from './stream-reader.js'

const Chunk = z.object({
  id: z.string().optional(),
  model: z.string().optional(),
  choices: z
    .array(
      z.object({
        index: z.number().optional(),
        finish_reason: z.string().nullish(),
        delta: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }).nullish(),
      }),
    )
    .nullish(),
  usage: CompletionUsage.nullish().catch(null),
  error: z.unknown().optional(),
})
type Chunk = z.infer<typeof Chunk>

export type CompletionEnd = { kind: 'completion'; completion: Completion } | { kind: 'error'; code: string | null }

/** The completion's id is not told: stored completions are found by our key, others not at all. */
export function readCompletionStream(onProgress: (progress: Progress) => void): StreamReader<CompletionEnd> {
  const progress = createStreamProgress(onProgress)
  let end: CompletionEnd | null = null
  let seen: Pick<Completion, 'id' | 'model' | 'usage'> = {}
  let content = ''
  let refusal = ''
  let finishReason: string | null = null
  let broken = false

  const add = ({ id, model, usage, choices }: Chunk): void => {
    seen = {
      ...seen,
      ...(id !== undefined && { id }),
      ...(model !== undefined && { model }),
      ...(usage != null && { usage }),
    }
    const choice = choices?.find(({ index }) => index === undefined || index === 0)
    content += choice?.delta?.content ?? ''
    refusal += choice?.delta?.refusal ?? ''
    finishReason ??= choice?.finish_reason ?? null
    if (choice?.delta?.content) progress.pieceCame()
  }

  return {
    handle: null,
    get end() {
      return end
    },
    take(data) {
      if (end !== null || broken) return
      if (data.trim() === '[DONE]') {
        const choices = [{ finish_reason: finishReason, message: { content, refusal } }]
        if (finishReason !== null) end = { kind: 'completion', completion: { ...seen, choices } }
        return
      }
      const chunk = parseChunk(data)
      // A piece of the text is missing then: what comes after it completes nothing.
      if (chunk === null) broken = true
      else if (chunk.error != null) end = { kind: 'error', code: codeOfError(chunk.error) }
      else add(chunk)
    },
  }
}

/** Null when it is none. */
function parseChunk(data: string): Chunk | null {
  try {
    const parsed = Chunk.safeParse(JSON.parse(data))
    return parsed.success ? parsed.data : null
  } catch {
    return null
  }
}
