/** The audit that a service runs, read line by line as it comes. */
import type { AuditLine } from '../audit/contract.js'
import { auditLineSchema } from '../audit/lines.js'
import { headersOf, readAnswer, unreachable, type ApiTarget } from './api-client.js'
import { CliError, EXIT } from './exit-codes.js'

/** A service says how far it is every second: silence for this long means that it is away. */
const SILENCE_MS_MAX = 60_000
const LINE_CHARS_MAX = 64 * 1024

/** Throws CliError. */
export async function* serviceAudit(
  target: ApiTarget,
  query: { [name: string]: string },
  signal: AbortSignal,
): AsyncGenerator<AuditLine> {
  const silence = new AbortController()
  const timer = setTimeout(() => silence.abort(new DOMException('No answer', 'TimeoutError')), SILENCE_MS_MAX)
  try {
    const url = new URL(`/v1/reports/audit?${new URLSearchParams(query).toString()}`, target.url)
    const headers = { ...headersOf(target), accept: 'application/x-ndjson, application/problem+json' }
    const response = await fetch(url, { headers, signal: AbortSignal.any([signal, silence.signal]), redirect: 'error' })
    if (!response.ok || !response.body) {
      readAnswer(target.url, response.status, await response.text())
      throw noAudit(target.url)
    }
    for await (const line of linesOf(response.body, () => timer.refresh())) yield parsed(target.url, line)
  } catch (error) {
    if (signal.aborted) return
    if (error instanceof CliError) throw error
    throw unreachable(target.url, error, SILENCE_MS_MAX)
  } finally {
    clearTimeout(timer)
  }
}

const noAudit = (url: string): CliError =>
  new CliError(
    EXIT.unreachable,
    'no-endstate',
    `Something else than an audit came from ${url}. Check --url or ENDSTATE_URL.`,
  )

const parsed = (url: string, line: string): AuditLine => {
  try {
    return auditLineSchema.parse(JSON.parse(line)) as AuditLine
  } catch {
    throw noAudit(url)
  }
}

async function* linesOf(body: AsyncIterable<Uint8Array>, heard: () => void): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of body) {
    heard()
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    if (rest.length > LINE_CHARS_MAX) throw new Error('A line is too long.')
    for (const line of lines) if (line !== '') yield line
  }
  if (rest !== '') yield rest
}
