/** One turn of a record (T1 to T4), on a store that can be told to lose, refuse and race. */
import { describe, expect, it } from 'vitest'
import { stateLabel } from '../../src/machines/advance.js'
import { applyEvent, dueTimers, nextIntent } from '../../src/machines/decide.js'
import type { Draft } from '../../src/machines/draft.js'
import type { RecordEvent } from '../../src/machines/events.js'
import type { OwnChart } from '../../src/machines/record-machine.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { stepState } from '../../src/machines/step-state.js'
import { after, compile, noon, pipeline, step } from '../machines/pipelines.js'
import { call, failed, succeeded } from '../machines/life.js'
import { settle } from './hand-clock.js'
import type { SaveFault, Scene } from './scene.js'
import { createScene, refused, unknown } from './scene.js'

const one = compile(pipeline([step('read')]))

const starts = (draft: Draft): void => {
  const intent = nextIntent(draft, 'free')
  if (intent) applyEvent(draft, intent)
}
const applies =
  (...events: RecordEvent[]) =>
  (draft: Draft): void => {
    for (const event of events) applyEvent(draft, event)
  }
const firesDue = (draft: Draft): void => {
  for (const event of dueTimers(draft.doc, draft.decider.at)) applyEvent(draft, event)
}
const stateOf = (doc: RecordDocument) => stateLabel((doc.snapshot as { value: unknown }).value)

/** Another process saves first; this one meets a conflict. */
const overtaken = (scene: Scene, change: (draft: Draft) => void): SaveFault => {
  return async ({ id }) => {
    const rival = createScene([one])
    await rival.real.insert([await scene.read(id)])
    await rival.turns(id, (draft) => change(draft))
    await scene.real.save(rival.saves)
    return null
  }
}

describe('T1 what a turn asks for', () => {
  it('follows its own save, which is in the store by then', async () => {
    const scene = createScene([one])
    await scene.insert()
    const turn = await scene.turns('r1', starts)
    expect(turn).toMatchObject({ kind: 'saved', calls: [{ step: 'read', attempt: 1, provider: 'free' }] })
    expect((await scene.read()).steps['read']!.attempts).toMatchObject([{ n: 1, outcome: null }])
    expect(scene.told.map(({ version }) => version)).toEqual([2])
  })

  it('is nothing when the save did not happen', async () => {
    for (const fault of [unknown, refused]) {
      const scene = createScene([one])
      await scene.insert()
      scene.next(fault)
      expect(await scene.turns('r1', starts)).not.toHaveProperty('calls')
      expect(scene.told).toEqual([])
      // What did not become the record is not taken for it either.
      expect(scene.recent.take('r1')).toBeUndefined()
    }
  })

  it('counts the time to send from before the save, not from after it', async () => {
    const scene = createScene([one])
    await scene.insert()
    scene.next(async () => {
      await scene.clock.sleep(4_000)
      return null
    })
    const turn = scene.turns('r1', starts)
    await scene.clock.passes(4_000)
    expect(await turn).toMatchObject({ kind: 'saved', savedFromMs: 0 })
  })

  it('is nothing when there is nothing to do', async () => {
    const scene = createScene([one])
    const doc = await scene.insert()
    expect(await scene.turns('r1', () => {})).toEqual({ kind: 'unchanged', doc })
    expect(await scene.turns('nobody', starts)).toEqual({ kind: 'missing' })
    expect(scene.saves).toEqual([])
  })
})

describe('T2 after a conflict', () => {
  it('the decision is made again on what is there: no second attempt for a step that another worker has started', async () => {
    const scene = createScene([one])
    await scene.insert()
    scene.next(overtaken(scene, starts))
    expect(await scene.turns('r1', starts)).toMatchObject({ kind: 'unchanged', doc: { version: 2 } })
    expect((await scene.read()).steps['read']!.attempts).toHaveLength(1)
  })

  it('a fact from outside is applied to the reloaded document', async () => {
    const scene = createScene([one])
    await scene.insert()
    await scene.turns('r1', starts)
    scene.next(overtaken(scene, applies({ type: 'CANCEL', reason: 'No longer wanted.' })))
    expect(await scene.turns('r1', applies(succeeded(call('read', 1))))).toMatchObject({ kind: 'saved' })
    const doc = await scene.read()
    expect(doc.status).toBe('cancelled')
    expect(doc.steps['read']).toMatchObject({ result: null, discarded: [{ attempt: 1 }] })
    expect(doc.charges).toEqual({})
  })

  it('timers are those of the reloaded document: one that another worker has cancelled does not fire', async () => {
    const scene = createScene([one])
    await scene.insert()
    await scene.turns('r1', starts)
    await scene.clock.passes(60_000)
    // The answer came just before the lease was judged.
    scene.next(overtaken(scene, applies(succeeded(call('read', 1)))))
    expect(await scene.turns('r1', firesDue)).toMatchObject({ kind: 'unchanged' })
    expect(await scene.read()).toMatchObject({ status: 'completed', version: 3 })
  })

  it('what a lost decision had set aside is given back, each time', async () => {
    const scene = createScene([one])
    await scene.insert()
    const undone: number[] = []
    let decided = 0
    scene.next(overtaken(scene, applies({ type: 'CANCEL', reason: 'First.' })))
    await scene.turns('r1', (draft, onAbandon) => {
      const nth = (decided += 1)
      onAbandon(() => undone.push(nth))
      applyEvent(draft, { type: 'CANCEL', reason: 'Second.' })
    })
    expect(decided).toBe(2)
    expect(undone).toEqual([1, 2])
  })

  it('a record that never stands still is given up for now', async () => {
    const scene = createScene([one])
    const doc = await scene.insert()
    for (let round = 0; round < 40; round += 1) scene.next(() => ({ kind: 'conflict', current: doc }))
    expect(await scene.turns('r1', starts)).toMatchObject({ kind: 'unknown', message: /changed 32 times/ as never })
  })
})

describe('T3 a save whose outcome is unknown', () => {
  it('is not decided again: the same bytes and token are sent, and found to be stored', async () => {
    const scene = createScene([one], { saveUnknownLimitMs: 10_000 })
    await scene.insert()
    let decided = 0
    const lostReply: SaveFault = async (save) => {
      await scene.real.save([save])
      return { kind: 'unknown', message: 'The reply was lost.' }
    }
    scene.next(lostReply)
    const turn = scene.turns('r1', (draft) => {
      decided += 1
      starts(draft)
    })
    await scene.clock.passes(1_000)
    expect(await turn).toMatchObject({ kind: 'saved', calls: [{ attempt: 1 }] })
    expect(decided).toBe(1)
    expect((await scene.read()).history.map(({ version }) => version)).toEqual([1, 2])
  })

  it('that stays unknown ends the turn without a decision, and gives back what was set aside', async () => {
    const scene = createScene([one])
    await scene.insert()
    scene.next(unknown)
    let decided = 0
    let undone = 0
    const turn = await scene.turns('r1', (draft, onAbandon) => {
      decided += 1
      onAbandon(() => (undone += 1))
      starts(draft)
    })
    expect(turn).toMatchObject({ kind: 'unknown' })
    expect([decided, undone]).toEqual([1, 1])
  })

  it('a storage that is away while the record is read says nothing about the record', async () => {
    const scene = createScene([one])
    await scene.insert()
    const away = Object.assign(new Error('Away.'), { code: 'store-unavailable' })
    let undone = 0
    const turn = await scene.turns('r1', (draft, onAbandon) => {
      onAbandon(() => (undone += 1))
      starts(draft)
      throw away
    })
    expect(turn).toEqual({ kind: 'unknown', message: 'Away.' })
    expect(undone).toBe(1)
    expect((await scene.read()).status).toBe('processing')
  })
})

describe('T4 a record that its machine cannot advance', () => {
  const own: OwnChart = {
    initial: 'read',
    states: {
      read: stepState('read', {
        description: 'Reads.',
        done: [{ guard: 'isSound', target: '#completed' }, { target: '#rejected' }],
        exhausted: 'investigation',
      }),
    },
    guards: {
      isSound: ({ read }) => {
        if (read === 'poison') throw new TypeError('content: poison')
        return true
      },
    },
    delaysMs: {},
  }
  const guarded = compile(pipeline([step('read')]), own)
  const answered =
    (output: string) =>
    (draft: Draft): void =>
      void applyEvent(draft, succeeded(call('read', 1)), { outputs: { read: output } })

  it('goes to investigation by force when a guard throws, and only that record', async () => {
    const scene = createScene([guarded])
    await scene.insert({ _id: 'bad' })
    await scene.insert({ _id: 'good' })
    for (const id of ['bad', 'good']) await scene.turns(id, starts)
    const turns = await Promise.all([scene.turns('bad', answered('poison')), scene.turns('good', answered('fine'))])
    expect(turns.map(({ kind }) => kind)).toEqual(['saved', 'saved'])
    expect((await scene.read('good')).status).toBe('completed')
    const bad = await scene.read('bad')
    expect(bad).toMatchObject({ status: 'investigation', reason: { code: 'machine-failed' }, wakeAt: null, queue: [] })
    expect(bad.steps['read']!.attempts).toMatchObject([{ n: 1, outcome: 'uncertain' }])
    expect(bad.history.at(-1)!.event).toMatchObject({
      type: 'SETTLED_BY_FORCE',
      snapshot: { value: expect.anything() },
    })
    // The message of what was thrown may quote the content.
    expect(JSON.stringify([bad.reason, scene.lines])).not.toContain('poison')
  })

  it('asks for no call, and gives back what was set aside for one', async () => {
    const scene = createScene([guarded])
    await scene.insert()
    let undone = 0
    const turn = await scene.turns('r1', (draft, onAbandon) => {
      starts(draft)
      onAbandon(() => (undone += 1))
      throw new TypeError('broken')
    })
    expect(turn).toMatchObject({ kind: 'saved', doc: { status: 'investigation' }, calls: [] })
    expect(undone).toBe(1)
  })

  it('goes the same way when its stored snapshot fits no machine', async () => {
    const scene = createScene([one])
    await scene.insert({
      snapshot: { value: 'nowhere', status: 'active', context: {}, children: {}, historyValue: {} },
    })
    expect(await scene.turns('r1', starts)).toMatchObject({ kind: 'saved', doc: { status: 'investigation' } })
  })

  it('stays as it is when it was settled already', async () => {
    const scene = createScene([guarded])
    await scene.insert()
    await scene.turns('r1', applies({ type: 'CANCEL', reason: 'Done.' }))
    const before = await scene.read()
    const turn = await scene.turns('r1', () => {
      throw new TypeError('late')
    })
    expect(turn).toMatchObject({ kind: 'unchanged' })
    expect(await scene.read()).toEqual(before)
  })

  it('of a version that is not known here is left to others; a settled one needs nobody', async () => {
    const scene = createScene([one])
    await scene.insert({ pipelineVersion: 'v0' })
    expect(await scene.turns('r1', starts)).toMatchObject({ kind: 'foreign' })
    await scene.insert({ _id: 'r2', pipelineVersion: 'v0', status: 'cancelled' })
    expect(await scene.turns('r2', starts)).toMatchObject({ kind: 'unchanged' })
    expect(scene.saves).toEqual([])
  })
})

describe('P2 what a turn knows of time', () => {
  it('without a fresh heartbeat nothing is decided, and nothing is read', async () => {
    const scene = createScene([one])
    await scene.insert()
    scene.liveness.outages = null
    let decided = 0
    expect(await scene.turns('r1', () => void (decided += 1))).toMatchObject({ kind: 'unknown' })
    expect(decided).toBe(0)
  })

  it('outages are applied before timers are judged: a wait that fell into one goes on, and is not fired', async () => {
    const scene = createScene([one])
    await scene.insert()
    await scene.turns('r1', starts)
    await scene.turns('r1', applies(failed(call('read', 1), { backoffMs: 1_000 })))
    expect(stateOf(await scene.read())).toBe('read.backoff')
    await scene.clock.passes(60_000)
    scene.liveness.outages = [{ from: after(500), to: after(59_900) }]
    const turn = await scene.turns('r1', firesDue)
    expect(turn).toMatchObject({ kind: 'saved' })
    const doc = await scene.read()
    expect(stateOf(doc)).toBe('read.backoff')
    expect(doc.wakeAt).toEqual(after(60_400))
    expect(doc.history.at(-1)!.event.type).toBe('OUTAGE_OBSERVED')
    expect(doc.outagesUntil).toEqual(after(59_900))
    expect(noon < doc.outagesUntil).toBe(true)
  })
})

describe('one mailbox for each record', () => {
  it('decides events of one record one after the other, so that this process never conflicts with itself', async () => {
    const scene = createScene([one])
    await scene.insert()
    await scene.turns('r1', starts)
    let decided = 0
    const counted =
      (event: RecordEvent) =>
      (draft: Draft): void => {
        decided += 1
        applyEvent(draft, event)
      }
    const kinds = await Promise.all([
      scene.turns('r1', counted(succeeded(call('read', 1)))),
      scene.turns('r1', counted({ type: 'CANCEL', reason: 'Too late.' })),
      scene.turns('r1', counted(failed(call('read', 1)))),
    ])
    expect(decided).toBe(3)
    expect(kinds.map(({ kind }) => kind)).toEqual(['saved', 'unchanged', 'unchanged'])
    expect(scene.saves.map(({ expectedVersion }) => expectedVersion)).toEqual([1, 2])
    await settle()
    expect(scene.mailboxes.size()).toBe(0)
  })

  it('goes on after a turn that throws', async () => {
    const scene = createScene([one])
    const first = scene.mailboxes.run('r1', () => Promise.reject(new Error('no')))
    const second = scene.mailboxes.run('r1', async () => 'yes')
    await expect(first).rejects.toThrow('no')
    expect(await second).toBe('yes')
  })
})
