/**
 * Dates as people write them -> ISO.
 *
 * 1. Day before month or after? A dot means day first. With slashes the document decides: any date in it that can
 *    be read in one way only settles all; without one, month first.
 * 2. A date that isn't in the calendar is no date.
 */
const MONTHS = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec']
const MONTH =
  '(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)'
const DAY = '(\\d{1,2})(?:st|nd|rd|th)?'
const YEAR = "(\\d{4}|'?\\d{2}(?!\\d))"

const PATTERNS: readonly [RegExp, 'ymd' | 'numeric' | 'dMy' | 'Mdy'][] = [
  [/\b((?:19|20)\d{2})\s?[-/.]\s?(\d{1,2})\s?[-/.]\s?(\d{1,2})\b/g, 'ymd'],
  [/\b(\d{1,2})\s?([-/.])\s?(\d{1,2})\s?\2\s?(\d{4}|\d{2})\b/g, 'numeric'],
  [new RegExp(`\\b${DAY}(?: of)?[ .,-]{0,3}${MONTH}[ .,-]{0,3}${YEAR}`, 'gi'), 'dMy'],
  [new RegExp(`\\b${MONTH}[ .-]{0,3}${DAY}[ .,-]{1,3}${YEAR}`, 'gi'), 'Mdy'],
]

export type DayOrder = 'day-first' | 'month-first'
export type FoundDate = { iso: string; from: number; to: number }

export function datesIn(text: string, order: DayOrder): FoundDate[] {
  const readable = mend(text)
  const found: FoundDate[] = []
  for (const [pattern, kind] of PATTERNS) {
    for (const match of readable.matchAll(pattern)) {
      const iso = toIso(match, kind, order)
      const to = match.index + match[0].length
      const overlaps = found.some((other) => match.index < other.to && to > other.from)
      if (iso !== null && !overlaps) found.push({ iso, from: match.index, to })
    }
  }
  return found.sort((a, b) => a.from - b.from)
}

export function dayOrderOf(text: string): DayOrder {
  for (const [, first, separator, second] of mend(text).matchAll(PATTERNS[1]![0])) {
    if (separator === '.') continue
    if (Number(first) > 12 && Number(second) <= 12) return 'day-first'
    if (Number(second) > 12 && Number(first) <= 12) return 'month-first'
  }
  return 'month-first'
}

/** Letters that stand for digits when they stand between digits. Keeps the length, so places stay right. */
const mend = (text: string): string =>
  text.replace(/(?<=\d[-/.]?)[OolI](?=[-/.\d])|(?<=[-/.])[OolI](?=\d)/g, (letter) => (/[oO]/.test(letter) ? '0' : '1'))

function toIso(match: RegExpExecArray, kind: 'ymd' | 'numeric' | 'dMy' | 'Mdy', order: DayOrder): string | null {
  const [, a = '', b = '', c = '', d = ''] = match
  if (kind === 'ymd') return iso(a, Number(b), Number(c))
  if (kind === 'dMy') return iso(c, monthOf(b), Number(a))
  if (kind === 'Mdy') return iso(c, monthOf(a), Number(b))
  const dayFirst = b === '.' || order === 'day-first'
  const [day, month] = dayFirst ? [Number(a), Number(c)] : [Number(c), Number(a)]
  return iso(d, month, day) ?? iso(d, day, month)
}

const monthOf = (name: string): number => MONTHS.indexOf(name.slice(0, 3).toLowerCase()) + 1

/** Two digits: up to 29 this century, else the last; a patient of 100 years needs four. */
function iso(yearText: string, month: number, day: number): string | null {
  const digits = yearText.replace("'", '')
  const short = Number(digits)
  const year = digits.length === 4 ? short : short <= 29 ? 2000 + short : 1900 + short
  if (year < 1900 || year > 2099 || month < 1 || month > 12 || day < 1) return null
  const date = new Date(Date.UTC(year, month - 1, day))
  return date.getUTCMonth() === month - 1 ? date.toISOString().slice(0, 10) : null
}
