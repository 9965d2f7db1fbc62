/** Whatever a record lives through, it breaks no invariant; and each invariant is broken by hand and named. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { INVARIANT_NAMES } from '../../src/audit/contract.js'
import { findingsIn, INVARIANTS } from '../../src/audit/invariants.js'
import type { Finding } from '../../src/audit/contract.js'
import { carryOver } from '../../src/machines/carry-over.js'
import type { Compiled } from '../../src/machines/compile.js'
import { forceSettle } from '../../src/machines/decide.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { shapeFaultsOf } from '../../src/persistence/documents.js'
import { live } from '../machines/life.js'
import type { Life } from '../machines/life.js'
import { noon } from '../machines/pipelines.js'
import { compilePlan, deeds, doDeed, plan, SHAPES } from '../machines/random-lives.js'
import type { Plan } from '../machines/random-lives.js'
import { CORRUPTIONS } from './corruptions.js'
import { compiledOfTests, completed, doubted, simulated, waiting } from './audited-records.js'

const RUNS = Number(process.env['ENDSTATE_PROPERTY_RUNS'] ?? 15)
const POOL = Math.max(2, Math.round(RUNS / 20))

const known =
  (...pipelines: Compiled[]) =>
  (version: string) =>
    pipelines.find((each) => each.version === version)

const audit = (doc: RecordDocument, now: Date, ...pipelines: Compiled[]): Finding[] =>
  findingsIn(doc, { time: { now, outages: [] }, pipelines: known(...pipelines) })

/** The random answers cost what they like. */
const unlessFree = (of: Plan): Plan => ({
  ...of,
  steps: Object.fromEntries(
    Object.entries(of.steps).map(([name, step]) => [
      name,
      { ...step, price: { fixed: '0.40', currency: 'EUR', unless: () => false } },
    ]),
  ),
})

const lived = (life: Life, all: readonly Parameters<typeof doDeed>[1][], check: () => void): void => {
  for (const deed of all) if (doDeed(life, deed)) check()
}

describe.each(SHAPES)('a record of a %s pipeline', (shape) => {
  it('is clean after every event of any life', () => {
    fc.assert(
      fc.property(plan(shape, 1, POOL), deeds(true), (of, all) => {
        const compiled = compilePlan(unlessFree(of))
        const life = live(compiled)
        lived(life, all, () => {
          expect(shapeFaultsOf(life.doc)).toEqual([])
          expect(audit(life.doc, life.at, compiled)).toEqual([])
        })
      }),
      { numRuns: RUNS },
    )
  })

  it('is clean however late its timers are delivered, but for the time of its end', () => {
    fc.assert(
      fc.property(plan(shape, 1, POOL), deeds(false), (of, all) => {
        const compiled = compilePlan(unlessFree(of))
        const life = live(compiled)
        lived(life, all, () => expect(audit(life.doc, noon, compiled)).toEqual([]))
      }),
      { numRuns: RUNS },
    )
  })

  it('is clean after its pipeline changed under it, and after it was settled by force', () => {
    fc.assert(
      fc.property(plan(shape, 1, POOL), plan(shape, 2, POOL), deeds(true), deeds(true), (of, then, first, second) => {
        const [from, to] = [compilePlan(unlessFree(of)), compilePlan(unlessFree(then))]
        const life = live(from)
        lived(life, first, () => {})
        const decider = { at: life.at, by: 'worker:new', writer: 'carried', facts: true }
        const carried = carryOver(life.doc, to, decider)
        if ('impossible' in carried) {
          const error = { code: 'pipeline-unknown', kind: 'not-executed', message: carried.impossible } as const
          expect(audit(forceSettle(life.doc, error, decider).next, life.at, from)).toEqual([])
          return
        }
        const moved = live(to, carried.next, life.at)
        lived(moved, second, () => expect(audit(moved.doc, moved.at, from, to)).toEqual([]))
      }),
      { numRuns: RUNS },
    )
  })
})

describe('each invariant', () => {
  it('is in the table once, and says what holds in a sentence', () => {
    const judged = INVARIANTS.map(({ name }) => name)
    expect([...judged, 'document-parses', 'blobs-exist', 'results-are-whole'].toSorted()).toEqual(
      [...INVARIANT_NAMES].toSorted(),
    )
    for (const { says, promise } of INVARIANTS)
      expect([says, promise]).toEqual([expect.stringMatching(/^[A-Za-z].*\.$/), expect.stringMatching(/^P\d+$/)])
  })

  it('holds for the records that are broken below', () => {
    for (const doc of [completed(), doubted(), waiting(), simulated()]) {
      expect(shapeFaultsOf(doc)).toEqual([])
      expect(audit(doc, noon, compiledOfTests)).toEqual([])
    }
  })

  it.each(CORRUPTIONS)('$invariant: $what', ({ invariant, of, corrupt, step, attempt }) => {
    const doc = structuredClone(of())
    corrupt(doc)
    expect(shapeFaultsOf(doc)).toEqual([])
    const found = audit(doc, noon, compiledOfTests).filter((finding) => finding.invariant === invariant)
    expect(found).toContainEqual({
      invariant,
      record: doc._id,
      ...(step !== undefined && { step }),
      ...(attempt !== undefined && { attempt }),
      expected: expect.any(String) as string,
      found: expect.any(String) as string,
    })
  })

  it('is broken by hand at least once', () => {
    const broken = new Set(CORRUPTIONS.map(({ invariant }) => invariant))
    expect(INVARIANTS.map(({ name }) => name).filter((name) => !broken.has(name))).toEqual([])
  })
})

describe('settles-in-time', () => {
  const late = (settlesBy: Date) => new Date(settlesBy.getTime() + 5_001)

  it('allows the slack of one timer', () => {
    const doc = waiting()
    expect(audit(doc, new Date(doc.settlesBy.getTime() + 5_000), compiledOfTests)).toEqual([])
    expect(audit(doc, late(doc.settlesBy), compiledOfTests)).toMatchObject([{ invariant: 'settles-in-time' }])
  })

  it('leaves out the time of outages that the record has not observed, once each', () => {
    const doc = waiting()
    const hour = 3_600_000
    const from = new Date(noon.getTime() + hour)
    const to = new Date(from.getTime() + hour)
    const outages = [
      { from, to },
      { from, to },
      { from: new Date(0), to: noon },
    ]
    const judged = (ms: number) => {
      const time = { now: new Date(doc.settlesBy.getTime() + ms), outages }
      return findingsIn(doc, { time, pipelines: known(compiledOfTests) }).map(({ invariant }) => invariant)
    }
    expect(judged(hour + 5_000)).toEqual([])
    expect(judged(hour + 5_001)).toEqual(['settles-in-time'])
  })
})

describe('what can not be known', () => {
  it('is not judged: the replay, the price and the bound of versions that the config does not have', () => {
    const doc = doubted()
    doc.steps['read']!.attempts[0]!.spend = null
    doc.snapshot = { value: 'elsewhere' }
    expect(audit(doc, noon)).toEqual([])
    expect(audit(doc, noon, compiledOfTests).map(({ invariant }) => invariant)).toEqual([
      'doubt-has-bound',
      'history-replays',
    ])
  })
})
