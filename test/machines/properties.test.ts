/** What holds for every record, whatever happens to it: random pipelines, random lives, valid and invalid events. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { carryOver } from '../../src/machines/carry-over.js'
import type { Compiled } from '../../src/machines/compile.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { isSettled } from '../../src/machines/record.js'
import { replay } from '../../src/machines/replay.js'
import { TIMER_SLACK_MS } from '../../src/machines/verify.js'
import { live } from './life.js'
import type { Life } from './life.js'
import { compilePlan, deeds, doDeed, plan, SHAPES } from './random-lives.js'
import type { Deed } from './random-lives.js'

/** ENDSTATE_PROPERTY_RUNS=5000 looks longer and at more pipelines; fast-check prints the seed and path of a failure. */
const RUNS = Number(process.env['ENDSTATE_PROPERTY_RUNS'] ?? 40)
const POOL = Math.max(4, Math.round(RUNS / 20))

/** P1 to P4 on one document, and against the one before it. */
const checkSaved = (before: RecordDocument, after: RecordDocument): void => {
  const added = after.history.slice(before.history.length)
  expect(after.history.slice(0, before.history.length)).toEqual(before.history)
  expect(added.map(({ version }) => version)).toEqual(added.map((_, index) => before.version + 1 + index))
  expect(after.version).toBe(before.version + added.length)
  expect(JSON.parse(JSON.stringify(after.snapshot))).toEqual(after.snapshot)
  for (const [key, charge] of Object.entries(before.charges)) expect(after.charges[key]).toEqual(charge)
  for (const [name, step] of Object.entries(after.steps)) {
    const { attempts, result } = step
    const earlier = before.steps[name]
    if (earlier?.result) expect(result).toEqual(earlier.result)
    if (earlier?.result) expect(attempts).toHaveLength(earlier.attempts.length)
    expect(attempts.map(({ n }) => n)).toEqual(attempts.map((_, index) => index + 1))
    expect(attempts.filter(({ outcome }) => outcome === null).length).toBeLessThanOrEqual(1)
    if (after.charges[name]) expect(after.charges[name].attempt).toBe(result?.attempt)
    for (const old of earlier?.attempts ?? []) checkAttempt(old, attempts[old.n - 1]!)
  }
  if (isSettled(after.status)) checkSettled(after)
  else expect(after.wakeAt?.getTime()).toBe(Math.min(...after.timers.map(({ dueAt }) => dueAt.getTime())))
}

type Attempt = RecordDocument['steps'][string]['attempts'][number]

/** A1: from open or uncertain to certain, never back; its identity never changes. */
const checkAttempt = (old: Attempt, now: Attempt): void => {
  expect([now.provider, now.requestKey, now.generation]).toEqual([old.provider, old.requestKey, old.generation])
  if (old.outcome === 'succeeded' || old.outcome === 'failed') expect(now.outcome).toBe(old.outcome)
  if (old.outcome === 'uncertain') expect(now.outcome).not.toBeNull()
  // An answer under its key speaks for it as well, where the provider honours keys.
  if (now.evidence?.['sameRunAs'] !== undefined) expect(now.provider).toBe('keyed')
  else if (now.outcome === 'uncertain' && now.provider !== 'free') expect(now.spend?.basis).toBe('upper-bound')
}

const checkSettled = (doc: RecordDocument): void => {
  expect(doc).toMatchObject({ timers: [], queue: [], wakeAt: null })
  expect(doc.settledAt).not.toBeNull()
  expect(doc.reason === null).toBe(doc.status === 'completed')
  for (const { attempts } of Object.values(doc.steps)) for (const each of attempts) expect(each.outcome).not.toBeNull()
}

/** P6: what was in doubt when another call started was asked again under its key, was free, or was under a policy. */
const checkDoubts = (compiled: Compiled, before: RecordDocument, after: RecordDocument): void => {
  for (const { name, onUncertain } of compiled.definition.steps) {
    const earlier = before.steps[name]?.attempts ?? []
    const started = after.steps[name]?.attempts.slice(earlier.length) ?? []
    for (const call of started) {
      const now = after.steps[name]!.attempts
      const answered = ({ requestKey }: Attempt) =>
        now.some(
          (each) =>
            each.requestKey === requestKey &&
            (each.n === call.n || ['succeeded', 'failed'].includes(String(each.outcome))) &&
            each.error?.kind !== 'not-executed',
        )
      const doubts = earlier.filter(
        (attempt) =>
          now[attempt.n - 1]!.outcome === 'uncertain' &&
          attempt.provider !== 'free' &&
          !(attempt.provider === 'keyed' && answered(attempt)),
      )
      for (const { n } of doubts) expect(after.steps[name]!.attempts[n - 1]!.possibleDuplicate).toBe(true)
      const own = doubts.filter(({ generation }) => generation === call.generation)
      if (onUncertain === 'investigate') expect(own).toEqual([])
      if (onUncertain === 'fallback') expect(own.map(({ provider }) => provider)).not.toContain(call.provider)
      if (typeof onUncertain === 'object') expect(own.length).toBeLessThanOrEqual(onUncertain!.retry.duplicateBudget)
    }
  }
}

const run = (compiled: Compiled, all: readonly Deed[], check: (before: RecordDocument, life: Life) => void): Life => {
  const life = live(compiled)
  for (const deed of all) {
    const before = life.doc
    if (doDeed(life, deed)) check(before, life)
  }
  return life
}

/** Nothing but time passes; each timer is delivered as late as a working deployment may be. */
const settlesAlone = (life: Life, lateMs: number): void => {
  const { settlesBy, status } = life.doc
  if (isSettled(status)) return
  life.passes(settlesBy.getTime() - life.at.getTime(), lateMs)
  expect(life.doc.status, `still in ${life.state} at settlesBy`).not.toBe('processing')
  expect(life.doc.settledAt!.getTime()).toBeLessThanOrEqual(settlesBy.getTime())
}

describe.each(SHAPES)('a record of a %s pipeline', (shape) => {
  it('keeps its invariants, and its history gives its snapshot', () => {
    fc.assert(
      fc.property(plan(shape, 1, POOL), deeds(false), (of, all) => {
        const compiled = compilePlan(of)
        const life = run(compiled, all, (before, { doc }) => {
          checkSaved(before, doc)
          checkDoubts(compiled, before, doc)
        })
        expect(replay(life.doc, () => compiled)).toEqual({ snapshot: life.doc.snapshot, divergences: [] })
      }),
      { numRuns: RUNS },
    )
  })

  it('takes no answer and no intent twice', () => {
    fc.assert(
      fc.property(plan(shape, 1, POOL), deeds(false), (of, all) => {
        const life = live(compilePlan(of))
        for (const deed of all) {
          const changed = doDeed(life, deed)
          if (changed && deed.kind === 'answers') expect(doDeed(life.fork(), deed)).toBe(false)
          const last = life.doc.history.at(-1)!.event
          if (changed && last.type === 'ATTEMPT_STARTED') expect(life.fork().does(last)).toBe(false)
        }
      }),
      { numRuns: RUNS },
    )
  })

  it('settles by settlesBy from wherever it is, if nothing but time passes (P2)', () => {
    fc.assert(
      fc.property(plan(shape, 1, POOL), deeds(true), fc.integer({ min: 0, max: TIMER_SLACK_MS }), (of, all, lateMs) => {
        const compiled = compilePlan(of)
        settlesAlone(
          run(compiled, [], () => {}),
          lateMs,
        )
        const life = run(compiled, all, (_, now) =>
          expect(now.at <= now.doc.settlesBy || isSettled(now.doc.status)).toBe(true),
        )
        settlesAlone(life, lateMs)
      }),
      { numRuns: RUNS },
    )
  })

  it('keeps all of that when its pipeline changes under it', () => {
    fc.assert(
      fc.property(
        plan(shape, 1, POOL),
        plan(shape, 2, POOL),
        deeds(true),
        deeds(true),
        fc.boolean(),
        (of, then, first, second, late) => {
          const [from, to] = [compilePlan(of), compilePlan(then)]
          const life = run(from, first, () => {})
          const carried = carryOver(life.doc, to, { at: life.at, by: 'worker:new', writer: 'carried', facts: true })
          if ('impossible' in carried) {
            expect(carried.impossible).toMatch(/has a call at provider/)
            return
          }
          checkSaved(life.doc, carried.next)
          const moved = live(to, carried.next, life.at)
          settlesAlone(moved.fork(), late ? TIMER_SLACK_MS : 0)
          for (const deed of second) {
            const before = moved.doc
            if (doDeed(moved, deed)) checkSaved(before, moved.doc)
          }
          settlesAlone(moved, late ? TIMER_SLACK_MS : 0)
          const known = (version: string) => [from, to].find((each) => each.version === version)
          expect(replay(moved.doc, known).divergences).toEqual([])
        },
      ),
      { numRuns: RUNS },
    )
  })
})
