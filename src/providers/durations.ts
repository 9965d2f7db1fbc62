/**
 * Durations as people write them: `'500ms'`, `'30s'`, `'5m'`, `'1h'`, `'7d'`, or a number of milliseconds.
 */

export type Duration = number | `${number}${'ms' | 's' | 'm' | 'h' | 'd'}`

/** Node's timers fire at once above 2^31 - 1 ms; nothing that a timer waits for may be longer than this. */
export const TIMER_MS_MAX = 24 * 24 * 60 * 60 * 1000

const UNIT_MS: { [unit: string]: number } = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/**
 * Whole milliseconds, 0..maxMs. `what` names the setting in the error, e.g. `The deadline of step "read"`.
 * Throws TypeError for what is no duration and RangeError for one that is too long.
 */
export function parseDuration(value: unknown, what: string, maxMs: number = TIMER_MS_MAX): number {
  const ms = toMs(value)
  if (ms === null) {
    throw new TypeError(
      `${what} is ${show(value)}. Write a number of milliseconds, or a text such as "500ms", "30s", "5m", "1h" or "7d".`,
    )
  }
  if (ms > maxMs) throw new RangeError(`${what} is ${show(value)}, longer than the limit of ${maxMs} ms.`)
  return ms
}

function toMs(value: unknown): number | null {
  if (typeof value === 'number') return Number.isFinite(value) && value >= 0 ? Math.round(value) : null
  if (typeof value !== 'string') return null
  const [, number, unit] = /^(\d{1,12}(?:\.\d{1,3})?)(ms|s|m|h|d)$/.exec(value) ?? []
  if (number === undefined || unit === undefined) return null
  return Math.round(Number(number) * (UNIT_MS[unit] ?? 0))
}

function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 40))
  return typeof value === 'number' ? String(value) : `a value of type ${typeof value}`
}
