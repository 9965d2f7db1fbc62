/** Attempts, late answers and waits of a record as people read them. Pure. */
import type { LiveAttempt, LiveProgress, LiveRecord } from '../live/shapes.js'
import {
  between,
  bytesText,
  clip,
  countText,
  durationText,
  safeText,
  tableText,
  timeText,
  withoutEmptyColumns,
} from './text.js'

const ID_CHARACTERS_MAX = 80

/** `40 %, 1,240 tokens`; nothing when nothing was told. */
export const progressText = ({ fraction, outputTokens }: LiveProgress): string =>
  [
    fraction === null ? null : `${Math.floor(100 * fraction)} %`,
    outputTokens === null ? null : `${countText(outputTokens)} tokens`,
  ]
    .filter((part) => part !== null)
    .join(', ')

/** `1,240 tokens in (1,000 cached), 310 out, 2 pages` */
export const usageText = (usage: { readonly [unit: string]: number }): string => {
  const { inputTokens, cachedInputTokens, outputTokens, pages, seconds, ...others } = usage
  const cached = cachedInputTokens ? ` (${countText(cachedInputTokens)} cached)` : ''
  return [
    inputTokens === undefined ? null : `${countText(inputTokens)} tokens in${cached}`,
    outputTokens === undefined ? null : `${countText(outputTokens)}${inputTokens === undefined ? ' tokens' : ''} out`,
    pages === undefined ? null : `${countText(pages)} ${pages === 1 ? 'page' : 'pages'}`,
    seconds === undefined ? null : `${countText(seconds)} s`,
    ...Object.entries(others).map(([unit, count]) => `${countText(count)} ${safeText(unit)}`),
  ]
    .filter((part) => part !== null)
    .join(', ')
}

const spendText = ({ spend, spendMax, outcome }: LiveAttempt): string => {
  if (spend !== null) return `spend ${spend.amount} ${spend.currency} (${spend.basis})`
  return outcome === null && spendMax ? `at most ${spendMax.amount} ${spendMax.currency}` : ''
}

const outcomeText = ({ outcome, progress }: LiveAttempt): string => {
  if (outcome !== null) return outcome
  const told = progress ? progressText(progress) : ''
  return told === '' ? 'running' : `running, ${told}`
}

const attemptRow = (step: string, attempt: LiveAttempt): string[] => [
  `${step} #${attempt.n}`,
  attempt.model ? `${attempt.provider} (${clip(safeText(attempt.model), ID_CHARACTERS_MAX)})` : attempt.provider,
  outcomeText(attempt),
  attempt.endedAt === null ? '' : durationText(between(attempt.startedAt, attempt.endedAt)),
  attempt.usage ? usageText(attempt.usage) : '',
  spendText(attempt),
  attempt.possibleDuplicate ? 'possible duplicate' : '',
  attempt.handle ? `id ${clip(safeText(attempt.handle), ID_CHARACTERS_MAX)}` : '',
  attempt.error === null ? '' : safeText(`${attempt.error.code}: ${attempt.error.message}`),
]

export const attemptLines = ({ steps }: LiveRecord): string[] =>
  tableText(
    withoutEmptyColumns(
      Object.entries(steps).flatMap(([step, { attempts }]) => attempts.map((attempt) => attemptRow(step, attempt))),
    ),
  )

/** Answers that did not become results; they charge nothing. */
export const lateLines = ({ steps }: LiveRecord): string[] =>
  tableText(
    Object.entries(steps).flatMap(([step, { discarded, candidate }]) => [
      ...(discarded ?? []).map(({ attempt, at, reason, bytes }) => [
        `${step} #${attempt}`,
        `discarded (${safeText(reason)})`,
        `${timeText(at)} UTC`,
        bytesText(bytes),
      ]),
      ...(candidate
        ? [
            [
              `${step} #${candidate.attempt}`,
              'waits for a person',
              `${timeText(candidate.at)} UTC`,
              bytesText(candidate.bytes),
            ],
          ]
        : []),
    ]),
  )

/** What steps wait for that have not begun. */
export const waitLines = ({ waitingFor }: LiveRecord): string[] =>
  (waitingFor ?? []).map(({ step, provider, readyAt, held }) =>
    held === null
      ? `${step} waits for a free slot at ${provider}`
      : safeText(`${step} waits for ${provider} until ${timeText(readyAt)} UTC, ${held.code}: ${held.message}`),
  )
