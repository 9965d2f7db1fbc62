/**
 * The events of a streamed response. Source:
 * https://developers.openai.com/api/reference/resources/responses/streaming-events
 *
 * - S1 Only response.completed, .incomplete and .failed end a response, each with the whole object; and an `error` event,
 *   which has none. Texts of deltas are never put together: what the end does not confirm is not an answer.
 */
import { z } from 'zod'
import type { Progress } from '../contract.js'
import { parseResponse, type ResponseObject } from './response-object.js'
import { codeOf, codeOfError } from './refusals.js'
import { createStreamProgress } from './stream-progress.js'
import type { StreamReader } from './stream-reader.js'

const Event = z.object({
  type: z.string(),
  response: z.unknown().optional(),
  /** Of an `error` event; some gateways nest it as they do in plain answers. */
  code: z.unknown().optional(),
  error: z.unknown().optional(),
})

/** `code` is in our spelling; null when the event named none. */
export type ResponseEnd = { kind: 'response'; response: ResponseObject } | { kind: 'error'; code: string | null }

const ENDS: ReadonlySet<string> = new Set(['response.completed', 'response.incomplete', 'response.failed'])

export function readResponseStream(onProgress: (progress: Progress) => void): StreamReader<ResponseEnd> {
  const progress = createStreamProgress(onProgress)
  let end: ResponseEnd | null = null
  return {
    get handle() {
      return progress.handle
    },
    get end() {
      return end
    },
    take(data) {
      if (end !== null) return
      const parsed = Event.safeParse(parse(data))
      if (!parsed.success) return
      const event = parsed.data
      if (event.type === 'error') {
        end = { kind: 'error', code: codeOf(event.code) ?? codeOfError(event.error) }
        return
      }
      if (event.type.endsWith('.delta')) progress.pieceCame()
      if (event.response === undefined) return
      const response = parseResponse(event.response)
      if (response === null) return
      progress.named(response.id)
      if (ENDS.has(event.type)) end = { kind: 'response', response }
    },
  }
}

/** Undefined when it is no JSON. */
function parse(data: string): unknown {
  try {
    return JSON.parse(data) as unknown
  } catch {
    return undefined
  }
}
