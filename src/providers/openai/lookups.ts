/**
 * Finds a call again, starting nothing: a response by its id, a stored chat completion by our key in its metadata.
 *
 * - Q1 Only OpenAI's own 404 for an id, or an empty list, says that there is no such call. Any other failure is about the question.
 * - Q2 A completion counts only when its own metadata names our key: a server that ignores the filter would give the
 *   answer of another record.
 */
import type { AskAnswer, Question } from '../contract.js'
import type { Exchange, HttpSession, Reading } from '../http-session.js'
import { parseJsonBody } from '../http-session.js'
import { read } from './calls.js'
import { ErrorBody } from './refusals.js'
import { parseCompletionList, readCompletion } from './completion-object.js'
import type { OpenAiSettings } from './openai-options.js'
import { KEY_METADATA } from './request-body.js'
import { parseResponse, readResponse } from './response-object.js'

export const pathOfResponse = (session: HttpSession, handle: string): string =>
  `${session.basePath}/responses/${encodeURIComponent(handle)}`

export async function askResponse(
  session: HttpSession,
  settings: OpenAiSettings,
  { handle }: Question,
  signal: AbortSignal,
): Promise<AskAnswer> {
  if (handle === null)
    return {
      kind: 'unknown',
      code: 'cannot-be-asked',
      message: 'A response is found only by its id, which never came.',
    }
  const reading = await get(session, settings, pathOfResponse(session, handle), signal)
  if (!reading.ok) return isNotFound(reading) ? { kind: 'missing', ...factsOf(reading) } : unanswered(reading)
  const { evidence, limits } = reading
  const response = parseResponse(parseJsonBody(reading.body))
  const answer = response?.id === handle ? readResponse(response, { evidence, limits }, settings) : null
  if (answer !== null) return answer
  return {
    kind: 'unknown',
    code: 'unexpected-answer',
    message: 'The look-up brought no such response.',
    evidence,
    limits,
  }
}

type Failed = Extract<Reading, { ok: false }>

const LIST_MAX = 20

/** Source: https://developers.openai.com/api/reference/resources/chat/subresources/completions/methods/list */
export async function askCompletion(
  session: HttpSession,
  settings: OpenAiSettings,
  { requestKey }: Question,
  signal: AbortSignal,
): Promise<AskAnswer> {
  // The oldest is the one that was made for this key first.
  const query = new URLSearchParams({ [`metadata[${KEY_METADATA}]`]: requestKey, order: 'asc', limit: `${LIST_MAX}` })
  const reading = await get(session, settings, `${session.basePath}/chat/completions?${query.toString()}`, signal)
  if (!reading.ok) return unanswered(reading)
  const { evidence, limits } = reading
  const list = parseCompletionList(parseJsonBody(reading.body))
  const ours = list?.found.filter(({ metadata }) => metadata?.[KEY_METADATA] === requestKey) ?? []
  const [first] = ours
  if (first !== undefined) {
    const matches = ours.length > 1 ? { matches: ours.length } : {}
    return readCompletion(first, { evidence: { ...evidence, ...matches }, limits }, settings)
  }
  // Q2
  if (list === null || list.found.length + list.unreadable > 0 || list.more) {
    const message = 'The look-up brought nothing that names our key.'
    return { kind: 'unknown', code: 'unexpected-answer', message, evidence, limits }
  }
  return { kind: 'missing', evidence, limits }
}

async function get(
  session: HttpSession,
  settings: OpenAiSettings,
  path: string,
  signal: AbortSignal,
): Promise<Reading> {
  const exchange: Exchange = { method: 'GET', path, signal }
  return read(await session.exchange(exchange), settings)
}

const factsOf = ({ failure: { evidence = null, limits = null } }: Failed) => ({ evidence, limits })

/** Q1: a 404 that is not OpenAI's own comes from something between, or from a wrong base url. */
const isNotFound = ({ failure, body }: Failed): boolean =>
  failure.evidence?.['status'] === 404 && body !== null && ErrorBody.safeParse(parseJsonBody(body)).success

const unanswered = (failed: Failed): AskAnswer => {
  const { code, message } = failed.failure
  return { kind: 'unknown', code, message, ...factsOf(failed) }
}
