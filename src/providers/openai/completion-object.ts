/**
 * What a chat completion means, whichever way it came: whole, put together from a stream, or found among the stored
 * ones. Pure. Source: https://developers.openai.com/api/reference/resources/chat
 */
import { z } from 'zod'
import { cutShort, finished, refused, unusable, usageOf, type Carried, type Ending, type Told } from './answers.js'
import type { OpenAiSettings } from './openai-options.js'
import { codeOf } from './refusals.js'

const count = z.number().min(0)

/** What can't be read of it is not told: the result counts all the same. */
export const CompletionUsage = z.object({
  prompt_tokens: count.optional(),
  completion_tokens: count.optional(),
  prompt_tokens_details: z.object({ cached_tokens: count.nullish() }).nullish(),
})

const Completion = z.object({
  id: z.string().optional(),
  model: z.string().optional(),
  metadata: z.record(z.string(), z.unknown()).nullish(),
  choices: z
    .array(
      z.object({
        finish_reason: z.string().nullish(),
        message: z.object({ content: z.string().nullish(), refusal: z.string().nullish() }),
      }),
    )
    .min(1),
  usage: CompletionUsage.nullish().catch(null),
})
export type Completion = z.infer<typeof Completion>

/** Null when it is none. */
export function parseCompletion(json: unknown): Completion | null {
  const parsed = Completion.safeParse(json)
  return parsed.success ? parsed.data : null
}

const CompletionList = z.object({ data: z.array(z.unknown()), has_more: z.boolean().nullish() })

/** Null when it is no list. Items that can't be read are left out, and counted. */
export function parseCompletionList(json: unknown): { found: Completion[]; unreadable: number; more: boolean } | null {
  const parsed = CompletionList.safeParse(json)
  if (!parsed.success) return null
  const items = parsed.data.data.map(parseCompletion)
  const found = items.filter((item) => item !== null)
  return { found, unreadable: items.length - found.length, more: parsed.data.has_more === true }
}

export function readCompletion(completion: Completion, carried: Carried, settings: OpenAiSettings): Ending {
  const [choice] = completion.choices
  const { id, model, usage } = completion
  const finishReason = choice?.finish_reason ?? null
  const told: Told = {
    ...carried,
    evidence: {
      ...carried.evidence,
      ...(id !== undefined && { responseId: id }),
      ...(model !== undefined && { model }),
      finishReason: codeOf(finishReason),
    },
    usage: usage
      ? usageOf(usage.prompt_tokens, usage.prompt_tokens_details?.cached_tokens ?? undefined, usage.completion_tokens)
      : null,
  }
  if (finishReason === 'length' || finishReason === 'content_filter') return cutShort(finishReason, told, settings)
  if (choice?.message.refusal) return refused(told, settings)
  if (finishReason !== 'stop')
    return unusable('unexpected-end', 'The model ended in a way that gives no answer.', true, told, settings)
  return finished(choice?.message.content ?? '', told, settings)
}
