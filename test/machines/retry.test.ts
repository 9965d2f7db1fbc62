/** An operator's retry: a new generation with fresh budgets, the same attempts, results and charges (P3). */
import { describe, expect, it } from 'vitest'
import { call, failed, live, notSent, operator, succeeded, uncertain } from './life.js'
import type { Life } from './life.js'
import { after, compile, pipeline, step } from './pipelines.js'

const compiled = compile(
  pipeline([step('read', { use: ['keyed', 'free'], attempts: 2 }), step('extract')], {
    price: { fixed: '1.50', currency: 'EUR' },
  }),
)

const fails = (life: Life, ...attempts: number[]) => {
  for (const n of attempts) {
    const started = life.starts()
    expect(started.attempt).toBe(n)
    life.does(failed(started))
    life.passes(1_000)
  }
}
const investigated = (): Life => {
  const life = live(compiled)
  fails(life, 1, 2, 3, 4)
  expect(life.doc.status).toBe('investigation')
  return life
}

describe('RETRY', () => {
  it('begins a generation with a deadline and a settlesBy of its own', () => {
    const life = investigated().skips(86_400_000)
    life.does(operator('RETRY'))
    expect(life.doc).toMatchObject({ status: 'processing', generation: 2, settledAt: null, reason: null })
    const plus = (ms: number) => new Date(life.at.getTime() + ms)
    expect(life.doc.settlesBy).toEqual(plus(compiled.worstCaseMs))
    expect(life.doc.wakeAt).toEqual(plus(compiled.deadlineMs))
    expect(life.doc.timers).toHaveLength(1)
    expect(life.doc.queue).toEqual([{ provider: 'keyed', step: 'read', readyAt: life.at }])
  })

  it('restarts budgets, at the first provider, but never attempt numbers', () => {
    const life = investigated()
    life.does(operator('RETRY'))
    fails(life, 5, 6, 7, 8)
    expect(life.doc.status).toBe('investigation')
    expect(
      life.doc.steps['read']?.attempts.map(({ n, generation, provider }) => `${n}/${generation} ${provider}`),
    ).toEqual(['1/1 keyed', '2/1 keyed', '3/1 free', '4/1 free', '5/2 keyed', '6/2 keyed', '7/2 free', '8/2 free'])
  })

  it('has its own deadline, which settles it when nothing else does', () => {
    const life = investigated().skips(86_400_000)
    life.does(operator('RETRY'))
    life.passes(compiled.deadlineMs)
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'deadline-passed' }, generation: 2 })
    expect(life.doc.settledAt!.getTime()).toBeLessThanOrEqual(life.doc.settlesBy.getTime())
  })

  it('after the deadline had passed may start calls again', () => {
    const life = live(compiled).passes(compiled.deadlineMs)
    life.does(operator('RETRY'))
    expect(life.starts('keyed')).toEqual(call('read', 1, 2))
    life.does(succeeded(call('read', 1, 2)))
    expect(life.state).toBe('extract.ready')
  })

  it('returns the result of a step that has one, without a call or a second charge (P3)', () => {
    const life = live(compiled)
    life.starts()
    life.does(succeeded(call('read', 1)))
    for (const n of [1, 2, 3]) {
      life.starts()
      life.does(failed(call('extract', n)))
      life.passes(1_000)
    }
    expect(life.doc.status).toBe('investigation')
    const { charges } = life.doc
    life.does(operator('RETRY'))
    expect(life.state).toBe('extract.ready')
    expect(life.doc.queue).toMatchObject([{ step: 'extract' }])
    expect(life.doc.steps['read']?.attempts).toHaveLength(1)
    expect(life.doc.charges).toEqual(charges)
  })

  it('of a record whose every step has a result completes it, and charges the record once', () => {
    const done = live(compiled)
    done.starts()
    done.does(succeeded(call('read', 1)))
    done.starts()
    done.does(succeeded(call('extract', 1)))
    // As a forced settlement leaves a record that had everything but its end.
    const life = live(compiled, {
      ...done.doc,
      status: 'investigation',
      snapshot: { ...(done.doc.snapshot as object), value: 'investigation', status: 'active' },
    })
    life.does(operator('RETRY'))
    expect(life.doc).toMatchObject({ status: 'completed', generation: 2, timers: [], wakeAt: null })
    expect(life.doc.charges).toEqual(done.doc.charges)
  })

  it('does nothing to a record that has ended', () => {
    const life = live(compiled)
    life.does(operator('CANCEL'))
    expect(life.does(operator('RETRY'))).toBe(false)
  })
})

describe('from investigation', () => {
  it.each(['CANCEL', 'WRITE_OFF'] as const)('%s ends the record, with its own reason', (type) => {
    const life = investigated()
    life.does(operator(type, 'Written off on the phone.'))
    expect(life.doc).toMatchObject({
      status: 'cancelled',
      reason: { code: type.toLowerCase(), message: 'Written off on the phone.' },
    })
  })
})

describe('the requestKey', () => {
  const keys = (life: Life) => life.doc.steps['read']?.attempts.map(({ requestKey }) => requestKey)

  it('stays after an uncertain outcome: the provider is asked for the same run', () => {
    const life = live(compiled)
    life.starts()
    life.does(uncertain(call('read', 1)))
    life.passes(200)
    life.starts()
    expect(keys(life)).toEqual(['r1.read.keyed.1.0', 'r1.read.keyed.1.0'])
  })

  it.each(['executed', 'partial'] as const)('changes after a certain failure that used it up (%s)', (kind) => {
    const life = live(compiled)
    life.starts()
    life.does(failed(call('read', 1), { kind }))
    life.passes(1_000)
    life.starts()
    expect(keys(life)).toEqual(['r1.read.keyed.1.0', 'r1.read.keyed.1.1'])
  })

  it('stays when the call was refused unexecuted: an earlier uncertain one may have run under it', () => {
    const three = compile(pipeline([step('read', { use: ['keyed'], attempts: 3 })]))
    const life = live(three)
    life.starts()
    life.does(uncertain(call('read', 1)))
    life.passes(200)
    life.starts()
    life.does(failed(call('read', 2), { kind: 'not-executed' }))
    life.passes(1_000)
    life.starts()
    expect(new Set(keys(life))).toEqual(new Set(['r1.read.keyed.1.0']))
    expect(life.attempt('read', 1)).not.toHaveProperty('possibleDuplicate')
  })

  it('stays when the request never left', () => {
    const life = live(compiled)
    life.starts()
    life.does(notSent(call('read', 1)))
    life.starts()
    expect(keys(life)).toEqual(['r1.read.keyed.1.0', 'r1.read.keyed.1.0'])
  })

  it('changes with a generation; what was uncertain before it is then a possible duplicate', () => {
    const once = compile(pipeline([step('read', { use: ['keyed'], attempts: 1 })]))
    const life = live(once)
    life.starts()
    life.does(uncertain(call('read', 1)))
    life.passes(200)
    life.does(operator('RETRY'))
    expect(life.attempt('read', 1)).not.toHaveProperty('possibleDuplicate')
    life.starts()
    expect(keys(life)).toEqual(['r1.read.keyed.1.0', 'r1.read.keyed.2.0'])
    expect(life.attempt('read', 1)).toMatchObject({ outcome: 'uncertain', possibleDuplicate: true })
  })
})

describe('outages before a retry', () => {
  it('are no part of the new generation’s time', () => {
    const life = investigated().skips(86_400_000)
    life.does(operator('RETRY'))
    const { settlesBy, wakeAt } = life.doc
    const outage = { from: after(3_600_000), to: after(7_200_000) }
    expect(life.observes(outage)).toBe(false)
    expect(life.doc).toMatchObject({ settlesBy, wakeAt })
  })
})

it('has a last generation: a record that was begun anew twenty times takes no further retry', async () => {
  const { GENERATIONS_MAX } = await import('../../src/machines/machine-parts.js')
  const life = live(compile(pipeline([step('read', { attempts: 1 })])))
  for (let generation = 1; ; generation += 1) {
    life.starts()
    life.does(failed(call('read', generation, generation), { retryable: false }))
    if (!life.does(operator('RETRY'))) break
  }
  expect(life.doc).toMatchObject({ generation: GENERATIONS_MAX, status: 'investigation' })
})
