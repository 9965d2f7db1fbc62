/**
 * The CLI's side of the HTTP API. Every request has a limit; an answer that is no Endstate's, and no answer at all, are
 * errors that say what to do.
 *
 * `raw` is the answer as it came, for --json; `live` is what is shown of it.
 */
import type { z } from 'zod'
import { LiveRecord, Machine, RecordPage, WayPage, type WayEntry } from '../live/shapes.js'
import { CliError, EXIT, type ExitCode } from './exit-codes.js'

const REQUEST_TIMEOUT_MS = 15_000
const HISTORY_PAGES_MAX = 50

export type ApiTarget = { url: string; source: string | null }
export type Answer<T> = { raw: unknown; live: T }
export type ListQuery = { status?: string; pipeline?: string; source?: string; limit?: string; page?: string }

/** As commands and paths have them. */
export const ACTIONS = ['cancel', 'retry', 'write-off'] as const
export type ActionName = (typeof ACTIONS)[number]

export type ApiClient = {
  readonly target: ApiTarget
  record(id: string): Promise<Answer<LiveRecord>>
  /** Null when it still has that version. */
  recordSince(id: string, version: number): Promise<Answer<LiveRecord> | null>
  records(query: ListQuery): Promise<Answer<z.infer<typeof RecordPage>>>
  /** All pages. */
  history(id: string): Promise<Answer<WayEntry[]> & { raw: unknown[] }>
  /** The chart that the service has for a pipeline now. */
  machine(pipeline: string): Promise<z.infer<typeof Machine>>
  /** What a person does to it; with `ifVersion` only while it has that version. Answers the record after it. */
  act(id: string, action: ActionName, reason: string, ifVersion: number | null): Promise<Answer<LiveRecord>>
  /** Any JSON under the service's address, such as a result that is not inline. */
  json(path: string, timeoutMs?: number): Promise<unknown>
  /** Any text under it, such as CSV. */
  text(path: string, accept: string, timeoutMs?: number): Promise<string>
}

const EXIT_BY_STATUS: { readonly [status: number]: ExitCode } = { 412: EXIT.moved, 503: EXIT.unreachable }

/** The service answered with a problem (RFC 9457). */
export class ApiProblem extends CliError {
  readonly status: number
  readonly problem: { readonly [fact: string]: unknown }
  constructor(status: number, problem: { readonly [fact: string]: unknown }) {
    const text = (name: string) => (typeof problem[name] === 'string' ? problem[name] : null)
    const code = text('code') ?? 'failed'
    super(EXIT_BY_STATUS[status] ?? EXIT.failed, code, text('detail') ?? text('title') ?? `HTTP ${status}`)
    this.status = status
    this.problem = problem
  }
}

export const unreachable = (url: string, error: unknown, timeoutMs = REQUEST_TIMEOUT_MS): CliError => {
  const reason = reasonOf(error, timeoutMs)
  const message =
    `No Endstate answers at ${url} (${reason}). ` +
    'Start one with "npx endstate dev", or name another with --url or ENDSTATE_URL.'
  return new CliError(EXIT.unreachable, 'unreachable', message, error)
}

const reasonOf = (error: unknown, timeoutMs: number): string => {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  if (cause instanceof Error && 'code' in cause && typeof cause.code === 'string') return cause.code
  if (cause instanceof Error && cause.name === 'TimeoutError') return `no answer in ${timeoutMs / 1000} s`
  return cause instanceof Error ? cause.message : String(cause)
}

const noEndstate = (url: string, what: string): CliError =>
  new CliError(
    EXIT.unreachable,
    'no-endstate',
    `Something else than Endstate answers at ${url} (${what}). Check --url or ENDSTATE_URL.`,
  )

/** Headers that every request carries. */
export const headersOf = ({ source }: ApiTarget): { [name: string]: string } => ({
  accept: 'application/json',
  ...(source === null ? {} : { 'endstate-source': source }),
})

/** The parsed body of an answer. Throws ApiProblem or CliError. */
export const readAnswer = (url: string, status: number, text: string): unknown => {
  let body: unknown
  try {
    body = JSON.parse(text)
  } catch {
    throw noEndstate(url, `HTTP ${status}, no JSON`)
  }
  if (status < 400) return body
  throw new ApiProblem(status, body !== null && typeof body === 'object' ? { ...body } : {})
}

export const createApiClient = (target: ApiTarget): ApiClient => {
  const answerTo = async (
    path: string,
    headers: { [name: string]: string },
    timeoutMs = REQUEST_TIMEOUT_MS,
    body?: unknown,
  ): Promise<{ status: number; text: string }> => {
    const url = new URL(path, target.url)
    try {
      const response = await fetch(url, {
        ...(body !== undefined && { method: 'POST', body: JSON.stringify(body) }),
        headers: { ...headersOf(target), ...headers },
        signal: AbortSignal.timeout(timeoutMs),
        redirect: 'error',
      })
      return { status: response.status, text: await response.text() }
    } catch (error) {
      throw unreachable(target.url, error, timeoutMs)
    }
  }
  const request = async (
    path: string,
    headers: { [name: string]: string } = {},
    timeoutMs?: number,
  ): Promise<unknown> => {
    const { status, text } = await answerTo(path, headers, timeoutMs)
    return status === 304 ? null : readAnswer(target.url, status, text)
  }
  const parsed = <T extends z.ZodType>(shape: T, raw: unknown): z.output<T> => {
    const { success, data, error } = shape.safeParse(raw)
    if (success) return data
    throw noEndstate(target.url, `unexpected ${error.issues[0]?.path.map(String).join('.') || 'answer'}`)
  }
  const pathOf = (id: string) => `/v1/records/${encodeURIComponent(id)}`

  return {
    target,
    async record(id) {
      const raw = await request(pathOf(id))
      return { raw, live: parsed(LiveRecord, raw) }
    },
    async recordSince(id, version) {
      const raw = await request(pathOf(id), { 'if-none-match': `"${version}"` })
      return raw === null ? null : { raw, live: parsed(LiveRecord, raw) }
    },
    async records(query) {
      const raw = await request(`/v1/records?${new URLSearchParams(query as { [name: string]: string }).toString()}`)
      return { raw, live: parsed(RecordPage, raw) }
    },
    async history(id) {
      const all = { raw: [] as unknown[], live: [] as WayEntry[] }
      let page: string | null = null
      for (let n = 0; n < HISTORY_PAGES_MAX; n += 1) {
        const query = new URLSearchParams({ limit: '200', ...(page === null ? {} : { page }) })
        const raw = await request(`${pathOf(id)}/history?${query.toString()}`)
        const { items, next } = parsed(WayPage, raw)
        all.raw.push(...((raw as { items: unknown[] }).items ?? []))
        all.live.push(...items)
        if (next === null) break
        page = next
      }
      return all
    },
    async machine(pipeline) {
      return parsed(Machine, await request(`/v1/pipelines/${encodeURIComponent(pipeline)}/machine`))
    },
    async act(id, action, reason, ifVersion) {
      const headers = {
        'content-type': 'application/json',
        ...(ifVersion !== null && { 'if-match': `"${ifVersion}"` }),
      }
      const { status, text } = await answerTo(`${pathOf(id)}/${action}`, headers, undefined, { reason })
      const raw = readAnswer(target.url, status, text)
      return { raw, live: parsed(LiveRecord, raw) }
    },
    json: (path, timeoutMs) => request(path, {}, timeoutMs),
    async text(path, accept, timeoutMs) {
      const { status, text } = await answerTo(path, { accept }, timeoutMs)
      if (status >= 400) readAnswer(target.url, status, text)
      return text
    },
  }
}

/** The service can't be reached or used right now: asking again later may help. */
export const isAway = (error: unknown): boolean => error instanceof CliError && error.exitCode === EXIT.unreachable
