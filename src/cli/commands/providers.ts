/** `providers`: how each provider does, in the whole deployment, as a table. */
import { z } from 'zod'
import type { ApiClient } from '../api-client.js'
import { CliError, EXIT, type ExitCode } from '../exit-codes.js'
import { printJson, type Io } from '../io.js'
import { clip, durationText, safeText, tableText } from '../text.js'

/** What the table shows; unknown fields are let through. */
const providerShape = z.object({
  name: z.string(),
  cost: z.string(),
  breaker: z.object({ state: z.string(), until: z.string().nullable(), code: z.string().nullable() }),
  pausedUntil: z.string().nullable(),
  ready: z.object({ ready: z.boolean(), detail: z.string() }).nullable(),
  limits: z.object({
    requestsPerMinute: z.number().nullable(),
    tokensPerMinute: z.number().nullable(),
    lowered: z.boolean(),
  }),
  recent: z.object({
    minutes: z.number(),
    calls: z.number(),
    outcomes: z.record(z.string(), z.number()),
    errors: z.record(z.string(), z.number()),
    p50Ms: z.number().nullable(),
    p95Ms: z.number().nullable(),
  }),
  today: z
    .array(z.object({ currency: z.string(), spent: z.string(), open: z.string(), possibleDuplicate: z.string() }))
    .nullable(),
})
const listShape = z.object({ items: z.array(providerShape) })
type ProviderRow = z.infer<typeof providerShape>

const HEAD = [
  'provider',
  'state',
  'calls',
  'failed',
  'uncertain',
  'p50',
  'p95',
  'limit',
  'spent today',
  'in doubt',
  'most errors',
]

const stateText = ({ breaker, pausedUntil, ready }: ProviderRow, nowMs: number): string => {
  const inText = (until: string) => durationText(Math.max(0, Date.parse(until) - nowMs))
  if (breaker.state === 'open' && breaker.until !== null)
    return `down (${breaker.code ?? 'unknown'}), tried again in ${inText(breaker.until)}`
  if (breaker.state !== 'closed') return `down (${breaker.code ?? 'unknown'}), being tried`
  if (pausedUntil !== null) return `paused for ${inText(pausedUntil)}`
  if (ready?.ready === false) return `not ready: ${clip(safeText(ready.detail), 40)}`
  return 'up'
}

const limitText = ({ requestsPerMinute, tokensPerMinute, lowered }: ProviderRow['limits']): string => {
  const parts = [
    ...(requestsPerMinute === null ? [] : [`${requestsPerMinute}/min`]),
    ...(tokensPerMinute === null ? [] : [`${tokensPerMinute} tokens/min`]),
  ]
  return parts.length === 0 ? '' : `${parts.join(', ')}${lowered ? ' (lowered)' : ''}`
}

const moneyText = (today: ProviderRow['today'], of: 'spent' | 'possibleDuplicate'): string =>
  today === null
    ? '?'
    : today
        .filter((sum) => of === 'spent' || !/^0(\.0+)?$/.test(sum[of]))
        .map((sum) => `${sum[of]} ${sum.currency}`)
        .join(', ')

export const providerRow = (provider: ProviderRow, nowMs: number): string[] => {
  const { recent, today } = provider
  const [worst] = Object.entries(recent.errors).sort(([, a], [, b]) => b - a)
  const ms = (value: number | null) => (value === null ? '' : durationText(value))
  return [
    provider.name,
    stateText(provider, nowMs),
    String(recent.calls),
    String(recent.outcomes['failed'] ?? 0),
    String(recent.outcomes['uncertain'] ?? 0),
    ms(recent.p50Ms),
    ms(recent.p95Ms),
    limitText(provider.limits),
    moneyText(today, 'spent'),
    moneyText(today, 'possibleDuplicate'),
    worst ? `${safeText(worst[0])} ${worst[1]}` : '',
  ]
}

export const providers = async (io: Io, client: ApiClient, json: boolean, nowMs: number): Promise<ExitCode> => {
  const raw = await client.json('/v1/providers')
  if (json) {
    printJson(io, raw)
    return EXIT.ok
  }
  const parsed = listShape.safeParse(raw)
  if (!parsed.success)
    throw new CliError(
      EXIT.unreachable,
      'no-endstate',
      `The answer of ${client.target.url} is of another version of Endstate.`,
    )
  const { items } = parsed.data
  for (const line of tableText([HEAD, ...items.map((item) => providerRow(item, nowMs))])) io.out(line)
  io.note(`Calls, errors and durations: the last ${items[0]?.recent.minutes ?? 15} minutes. Spending: since 00:00 UTC.`)
  return EXIT.ok
}
