/**
 * Questions to the shared counters of budgets, one update for all that came while the one before was under way: a counter
 * is one document, and many updates at once would only fight over it.
 *
 * Bounded by the calls that wait for their answer, and SETTLED_MAX settlements; more of them are left to the recount.
 */
import type { CounterKey, ProviderStates, Settlement } from '../../persistence/contract.js'
import type { Clock } from '../../worker/contract.js'

const BATCH_MAX = 200
const SETTLED_MAX = 10_000
const SETTLE_AFTER_MS = 100
const COUNTERS_KEPT_MAX = 1_000

type Answer = { granted: boolean; minute: number; spent: string }
type Asked = { limit: string; amount: string; answer(answer: Answer): void; fail(error: unknown): void }
type Line = { key: CounterKey; asked: Asked[]; settled: Settlement[]; busy: boolean }

export const createCounterQueue = (deps: {
  states: Pick<ProviderStates, 'reserve' | 'settle'>
  clock: Clock
  failed(what: string, error: unknown): void
}) => {
  const lines = new Map<string, Line>()
  const closing = new AbortController()
  let settling: Promise<void> | null = null

  const lineOf = (key: CounterKey): Line => {
    const id = `${key.per} ${key.name} ${key.currency} ${key.day.getTime()}`
    const line = lines.get(id) ?? { key, asked: [], settled: [], busy: false }
    lines.set(id, line)
    // Yesterday's counters.
    if (lines.size > COUNTERS_KEPT_MAX)
      for (const [each, { asked, settled, busy }] of lines)
        if (!busy && each !== id && asked.length + settled.length === 0) lines.delete(each)
    return line
  }

  const reserveNext = async (line: Line): Promise<void> => {
    if (line.busy) return
    line.busy = true
    for (let first = line.asked[0]; first; first = line.asked[0]) {
      // Two budgets may put two limits on one counter; they never share an update.
      const { limit } = first
      const batch = line.asked.filter((each) => each.limit === limit).slice(0, BATCH_MAX)
      line.asked = line.asked.filter((each) => !batch.includes(each))
      try {
        const amounts = batch.map(({ amount }) => amount)
        const { granted, minute, spent } = await deps.states.reserve(line.key, limit, amounts)
        batch.forEach((each, index) => each.answer({ granted: granted[index] === true, minute, spent }))
      } catch (error) {
        for (const each of batch) each.fail(error)
      }
    }
    line.busy = false
  }

  const settleAll = async (): Promise<void> => {
    await deps.clock.sleep(SETTLE_AFTER_MS, closing.signal)
    settling = null
    for (const line of lines.values()) {
      if (line.settled.length === 0) continue
      const batch = line.settled
      line.settled = []
      // What gets lost here is found by the next recount.
      try {
        await deps.states.settle(line.key, batch)
      } catch (error) {
        deps.failed('Settling reservations', error)
        // While storage is away each would wait for its limit, and the process could not end.
        if (closing.signal.aborted) return
      }
    }
  }

  return {
    reserve: (key: CounterKey, limit: string, amount: string): Promise<Answer> =>
      new Promise((answer, fail) => {
        const line = lineOf(key)
        line.asked.push({ limit, amount, answer, fail })
        void reserveNext(line)
      }),
    settle(key: CounterKey, settlement: Settlement): void {
      const line = lineOf(key)
      if (line.settled.length >= SETTLED_MAX) return
      line.settled.push(settlement)
      settling ??= settleAll()
    },
    /** Hands over what is left. */
    async close(): Promise<void> {
      closing.abort()
      await settling
      await settleAll()
    },
  }
}
