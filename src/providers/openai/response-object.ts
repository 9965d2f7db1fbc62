/**
 * What a response object of OpenAI means, whichever way it came: the POST's answer, a look-up, or a stream's last event.
 * Pure. Source: https://developers.openai.com/api/reference/resources/responses
 */
import { z } from 'zod'
import type { AskAnswer } from '../contract.js'
import type { Failure } from '../http-certainty.js'
import { spendOfUsage } from '../price-table.js'
import { cutShort, finished, refused, usageOf, type Carried, type Told } from './answers.js'
import type { OpenAiSettings } from './openai-options.js'
import { codeOf, isPassing, TOO_LONG } from './refusals.js'

const count = z.number().min(0)

const OutputItem = z.object({
  type: z.string(),
  /** `commentary` is talk on the way to the answer. */
  phase: z.string().nullish(),
  content: z.array(z.object({ type: z.string(), text: z.string().optional() })).nullish(),
})

const ResponseObject = z.object({
  id: z.string().regex(/^[\x21-\x7e]{1,512}$/),
  status: z.string().optional(),
  model: z.string().optional(),
  error: z.object({ code: z.unknown().optional() }).nullish(),
  incomplete_details: z.object({ reason: z.unknown().optional() }).nullish(),
  output: z.array(OutputItem).nullish(),
  usage: z
    .object({
      input_tokens: count,
      input_tokens_details: z.object({ cached_tokens: count.optional() }).nullish(),
      output_tokens: count,
    })
    .nullish()
    // What can't be read is not told: the result counts all the same.
    .catch(null),
})
export type ResponseObject = z.infer<typeof ResponseObject>

/** Null when it is none. */
export function parseResponse(json: unknown): ResponseObject | null {
  const parsed = ResponseObject.safeParse(json)
  return parsed.success ? parsed.data : null
}

/** Null for a status that is not documented: nobody knows what it means. */
export function readResponse(response: ResponseObject, carried: Carried, settings: OpenAiSettings): AskAnswer | null {
  const { id, status, model, error, usage } = response
  const told: Told = {
    ...carried,
    evidence: { ...carried.evidence, responseId: id, ...(model !== undefined && { model }) },
    usage: usage ? usageOf(usage.input_tokens, usage.input_tokens_details?.cached_tokens, usage.output_tokens) : null,
    handle: id,
  }
  const ended = { ...told, evidence: { ...told.evidence, finishReason: status ?? null } }
  switch (status) {
    case 'queued':
    case 'in_progress':
      return { kind: 'accepted', ...told, handle: id }
    case 'completed':
      return hasRefusal(response) ? refused(ended, settings) : finished(textOf(response), ended, settings)
    case 'incomplete': {
      const reason = codeOf(response.incomplete_details?.reason)
      return cutShort(reason, { ...told, evidence: { ...told.evidence, finishReason: reason ?? status } }, settings)
    }
    case 'failed':
      return failed(codeOf(error?.code), ended, settings)
    case 'cancelled': {
      const message = 'The job was cancelled.'
      return { kind: 'executed', code: codeOf(error?.code) ?? 'cancelled', message, retryable: true, ...ended }
    }
    default:
      return null
  }
}

/** A run that ended with an error, by its object or by an error in its stream. */
export function failed(code: string | null, told: Told, { price }: OpenAiSettings): Failure {
  if (code === TOO_LONG) {
    const message = 'The request is longer than the context of the model.'
    return { kind: 'not-executed', code, message, retryable: false, ...told }
  }
  const message = 'The run failed at the provider.'
  const spend = told.usage && spendOfUsage(price, told.usage)
  return { kind: 'executed', code: code ?? 'failed', message, retryable: isPassing(code), spend, ...told }
}

const messagesOf = ({ output }: ResponseObject) => (output ?? []).filter(({ type }) => type === 'message')

const hasRefusal = (response: ResponseObject): boolean =>
  messagesOf(response).some(({ content }) => content?.some(({ type }) => type === 'refusal'))

const textOf = (response: ResponseObject): string =>
  messagesOf(response)
    .filter(({ phase }) => phase !== 'commentary')
    .flatMap(({ content }) => content ?? [])
    .map(({ type, text }) => (type === 'output_text' ? (text ?? '') : ''))
    .join('')
