/**
 * Lives of records on the forms of a pipeline: regions at once, votes, choices, maps. What the built-in providers decide
 * is asked of them, not made up.
 */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { EndstateConfig, PipelineSource } from '../../src/config/builder.js'
import { endstate } from '../../src/config/builder.js'
import { compileConfig } from '../../src/config/pipelines.js'
import type { CallRequest } from '../../src/providers/contract.js'
import { factory } from '../types/providers.js'
import type { Life } from './life.js'
import { accepted, call, failed, live, operator, payload, succeeded, uncertain } from './life.js'

const names = { ocr: factory(), gpt: factory(), claude: factory(), third: factory() }
const es = endstate({ providers: names })
const base = { revision: 1, accepts: ['application/json'] } as const
const sum = z.object({ sum: z.number(), notes: z.record(z.string(), z.string()).optional() })
const add = { output: sum, deadline: '10s' } as const
const read = es.pipeline('claim', base).step('read', { ...add, use: ['ocr'] })
const sameSum = (a: { sum: number }, b: { sum: number }) => a.sum === b.sum

const configOf = (...pipelines: PipelineSource[]) => es.config({ pipelines })
const begin = (config: EndstateConfig) => live(compileConfig(config).all()[0]!)
const outputsOf = (life: Life): { [step: string]: unknown } =>
  Object.fromEntries(
    Object.entries(life.doc.steps).flatMap(([step, { result }]) =>
      result && 'inline' in result.payload ? [[step, JSON.parse(result.payload.inline) as unknown]] : [],
    ),
  )

/** The step that waits at a provider of the config's own answers so. */
const gives = (life: Life, provider: string, output: unknown) =>
  life.doesWith({ outputs: outputsOf(life) }, succeeded(life.starts(provider), { result: payload(output) }))

/** The step that waits at a built-in provider is called, and its answer taken. */
const runs = async (life: Life, config: EndstateConfig, provider: string) => {
  const started = life.starts(provider)
  const outputs = outputsOf(life)
  const request = { pipeline: life.doc.pipeline, step: started.step, outputs, request: null } as unknown as CallRequest
  const made = config.providers[provider]!.create(provider, { secret: () => '' })
  const answer = await made.call(request, new AbortController().signal)
  if (answer.kind === 'succeeded') {
    const delivered = { ...outputs, [started.step]: answer.output }
    life.doesWith({ outputs: delivered }, succeeded(started, { result: payload(answer.output), charge: null }))
  } else if (answer.kind === 'executed') {
    const { code, message, kind, retryable } = answer
    life.does({ ...failed(started, { retryable }), error: { code, message, kind } })
  }
  return answer
}

const failsForGood = (life: Life, provider: string) =>
  life.does(failed(life.starts(provider), { retryable: false, kind: 'executed' }))

describe('parallel regions', () => {
  const config = configOf(
    read
      .parallel('both', (branch) => ({
        left: branch.step('one', { ...add, use: ['gpt'] }).step('two', { ...add, use: ['gpt'] }),
        right: branch.step('other', { ...add, use: ['claude'] }).optional(),
      }))
      .step('last', { ...add, use: ['ocr'] }),
  )

  it('wait for each other, and a crash in one repeats nothing that is finished', () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    gives(life, 'gpt', { sum: 1 })
    life.starts('claude')
    life.starts('gpt')
    expect(life.state).toBe('both.left.two.calling|right.other.calling')
    life.does(succeeded(call('other', 1)))
    // The worker that calls `two` is killed: only `two` is called again.
    life.passes(60_000)
    expect(life.doc.queue.map(({ step }) => step)).toEqual(['two'])
    gives(life, 'gpt', { sum: 2 })
    gives(life, 'ocr', { sum: 3 })
    expect(life.doc.status).toBe('completed')
    const attempts = Object.entries(life.doc.steps).map(([step, { attempts: made }]) => [step, made.length])
    expect(Object.fromEntries(attempts)).toEqual({ read: 1, one: 1, two: 2, other: 1, last: 1 })
  })

  it('that are optional end without their output; the others go on', () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    failsForGood(life, 'claude')
    expect(life.state).toBe('both.left.one.ready|right.finished')
    gives(life, 'gpt', { sum: 1 })
    gives(life, 'gpt', { sum: 2 })
    gives(life, 'ocr', { sum: 3 })
    expect(life.doc).toMatchObject({ status: 'completed', reason: null, steps: { other: { result: null } } })
  })

  it('that are not end the record in investigation; a retry calls only what has no result', () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    gives(life, 'claude', { sum: 9 })
    failsForGood(life, 'gpt')
    expect(life.doc).toMatchObject({ status: 'investigation', reason: { code: 'attempts-exhausted' } })
    life.does(operator('RETRY'))
    expect(life.doc.queue.map(({ step }) => step)).toEqual(['one'])
  })
})

describe('a vote', () => {
  const vote = { ...add, of: ['gpt', 'claude'], agree: sameSum, price: { fixed: '0.40', currency: 'EUR' } } as const
  const config = configOf(read.vote('add', vote))

  it('asks its voters at once, each in a step of its own, and takes what they agree on', async () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    expect(life.doc.queue.map(({ step }) => step)).toEqual(['add-gpt', 'add-claude'])
    gives(life, 'claude', { sum: 5, notes: { by: 'claude' } })
    gives(life, 'gpt', { sum: 5, notes: { by: 'gpt' } })
    await runs(life, config, 'endstate-vote')
    expect(life.doc.status).toBe('completed')
    expect(outputsOf(life)['add']).toEqual({ sum: 5, notes: { by: 'gpt' } })
  })

  it('without agreement is investigated with both answers; what is said names places, no values and no keys of maps', async () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    gives(life, 'gpt', { sum: 51, notes: { Jones: 'x' } })
    gives(life, 'claude', { sum: 47, notes: { Smith: 'x' } })
    const answer = await runs(life, config, 'endstate-vote')
    expect(answer).toMatchObject({
      kind: 'executed',
      code: 'no-agreement',
      retryable: false,
      message: '2 of 2 answered (gpt, claude), 1 agree, the quorum is 2. They differ at notes.*, sum.',
      evidence: { differAt: 'notes.*, sum' },
    })
    expect(JSON.stringify(answer)).not.toMatch(/51|47|Jones|Smith/)
    expect(life.doc).toMatchObject({ status: 'investigation', charges: { read: {} } })
    expect(life.doc.reason?.message).toContain('"add"')
    expect(life.doc.charges['add']).toBeUndefined()
    expect(outputsOf(life)).toMatchObject({ 'add-gpt': { sum: 51 }, 'add-claude': { sum: 47 } })
  })

  it('with a voter that is exhausted goes on without it, and says who was there', async () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    failsForGood(life, 'gpt')
    gives(life, 'claude', { sum: 5 })
    const answer = await runs(life, config, 'endstate-vote')
    expect(answer).toMatchObject({ message: '1 of 2 answered (claude), 1 agree, the quorum is 2.' })
    expect(life.doc.status).toBe('investigation')
  })

  it('of three with a quorum of two bears an absent voter, and a dissenter', async () => {
    const three = configOf(read.vote('add', { ...vote, of: ['gpt', 'claude', 'third'] }))
    const life = begin(three)
    gives(life, 'ocr', { sum: 0 })
    gives(life, 'claude', { sum: 5 })
    gives(life, 'third', { sum: 5 })
    const dissenting = life.fork()
    failsForGood(life, 'gpt')
    await runs(life, three, 'endstate-vote')
    gives(dissenting, 'gpt', { sum: 6 })
    await runs(dissenting, three, 'endstate-vote')
    for (const one of [life, dissenting]) {
      expect(one.doc.status).toBe('completed')
      expect(outputsOf(one)['add']).toEqual({ sum: 5 })
    }
  })

  it('merges those that agree, and no other', async () => {
    const merging = configOf(
      read.vote('add', {
        ...vote,
        of: ['gpt', 'claude', 'third'],
        agree: (a, b) => Math.abs(a.sum - b.sum) <= 1,
        merge: (answers) => ({ sum: Math.max(...answers.map(({ sum: one }) => one)) }),
      }),
    )
    const life = begin(merging)
    gives(life, 'ocr', { sum: 0 })
    gives(life, 'gpt', { sum: 5 })
    gives(life, 'claude', { sum: 6 })
    gives(life, 'third', { sum: 90 })
    await runs(life, merging, 'endstate-vote')
    expect(outputsOf(life)['add']).toEqual({ sum: 6 })
  })
})

describe('a vote with a tie-breaker', () => {
  // Few attempts: what is behind multiplies what `verify` walks.
  const vote = { ...add, attempts: 1, of: ['gpt', 'claude'], agree: sameSum, tieBreaker: { use: ['third'] } } as const
  const config = configOf(read.vote('add', vote))
  const disagreeing = async () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    gives(life, 'gpt', { sum: 1 })
    gives(life, 'claude', { sum: 2 })
    await runs(life, config, 'endstate-vote')
    expect(life.state).toBe('add-tie.ready')
    return life
  }

  it('does not ask it when the voters agree', async () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    gives(life, 'gpt', { sum: 1 })
    gives(life, 'claude', { sum: 1 })
    await runs(life, config, 'endstate-vote')
    await runs(life, config, 'endstate-vote')
    expect(life.doc).toMatchObject({ status: 'completed', steps: { 'add-tie': { attempts: [] } } })
  })

  it('lets its answer decide', async () => {
    const life = await disagreeing()
    gives(life, 'third', { sum: 2 })
    await runs(life, config, 'endstate-vote')
    expect(life.doc).toMatchObject({ status: 'completed', reason: null })
    expect(outputsOf(life)['add']).toEqual({ sum: 2 })
  })

  it('is investigated when it says a third thing, and when it is absent', async () => {
    const life = await disagreeing()
    const without = life.fork()
    gives(life, 'third', { sum: 3 })
    failsForGood(without, 'third')
    for (const one of [life, without]) {
      await runs(one, config, 'endstate-vote')
      expect(one.doc.status).toBe('investigation')
      expect(one.attempt('add', 1).error?.code).toBe('no-agreement')
    }
  })
})

describe('a choice', () => {
  const config = configOf(
    read
      .choose('way', (choice) =>
        choice
          .when(
            'large',
            ({ read: found }) => found.sum > 10,
            (branch) => branch.step('check', { ...add, use: ['gpt'] }),
          )
          .otherwise(),
      )
      .step('last', { ...add, use: ['claude'] }),
  )

  it.each([
    [11, 'large', 'check.ready'],
    [10, 'otherwise', 'last.ready'],
  ])('over the outputs is a result of its own (%d)', async (value, way, state) => {
    const life = begin(config)
    gives(life, 'ocr', { sum: value })
    await runs(life, config, 'endstate-compute')
    expect(outputsOf(life)['way']).toBe(way)
    expect(life.state).toBe(state)
  })

  it('whose guard throws is investigated, without what it threw', async () => {
    const throwing = configOf(
      read.choose('way', (choice) =>
        choice
          .when(
            'large',
            () => {
              throw new Error('patient Smith')
            },
            (branch) => branch,
          )
          .otherwise(),
      ),
    )
    const life = begin(throwing)
    gives(life, 'ocr', { sum: 1 })
    const answer = await runs(life, throwing, 'endstate-compute')
    expect(answer).toMatchObject({ code: 'function-threw', message: "The step's function threw Error." })
    expect(life.doc.status).toBe('investigation')
  })

  it('stays chosen through a retry', async () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 11 })
    await runs(life, config, 'endstate-compute')
    failsForGood(life, 'gpt')
    life.doesWith({ outputs: outputsOf(life) }, operator('RETRY'))
    expect(life.state).toBe('check.ready')
    expect(life.doc.steps['way']?.attempts).toHaveLength(1)
  })

  it('stays chosen through a retry also where regions have joined just before', async () => {
    const joining = configOf(
      read
        .parallel('both', (branch) => ({
          left: branch.step('one', { ...add, use: ['gpt'] }),
          right: branch.step('two', { ...add, use: ['claude'] }),
        }))
        .choose('way', (choice) =>
          choice
            .when(
              'large',
              ({ one, two }) => one.sum + two.sum > 10,
              (branch) => branch.step('check', { ...add, use: ['gpt'] }),
            )
            .otherwise(),
        )
        .step('last', { ...add, use: ['claude'] }),
    )
    const life = begin(joining)
    gives(life, 'ocr', { sum: 0 })
    gives(life, 'gpt', { sum: 5 })
    gives(life, 'claude', { sum: 6 })
    await runs(life, joining, 'endstate-compute')
    expect(life.state).toBe('check.ready')
    failsForGood(life, 'gpt')
    life.doesWith({ outputs: outputsOf(life) }, operator('RETRY'))
    expect(life.state).toBe('check.ready')
  })
})

describe('a map', () => {
  const page = es.pipeline('page', base).step('sum', { ...add, use: ['gpt'] })
  const options = { over: () => [1, 2], pipeline: page, take: 'sum', max: 5, wait: '10m' } as const
  const config = configOf(read.map('pages', options).step('last', { ...add, use: ['ocr'] }), page)
  const provider = 'endstate-records-600s'
  const begun = () => {
    const life = begin(config)
    gives(life, 'ocr', { sum: 0 })
    return life
  }

  it('holds no worker while the children run: it is polled, and goes on with their outputs', () => {
    const life = begun()
    const mapping = life.starts(provider)
    life.does(accepted(mapping, 'local/claim/2'))
    expect(life.state).toMatch(/^pages\.awaiting/)
    life.passes(5_000)
    expect(life.errands).toMatchObject([{ kind: 'ask', step: 'pages' }])
    life.does(succeeded(mapping, { result: payload([{ sum: 1 }, { sum: 2 }]), charge: null }))
    expect(life.state).toBe('last.ready')
    expect(life.doc.steps['read']?.attempts).toHaveLength(1)
  })

  it('whose worker is killed while it submits is called again under the same key', () => {
    const life = begun()
    life.starts(provider)
    life.passes(120_000)
    life.starts(provider)
    const [first, second] = life.doc.steps['pages']!.attempts
    expect(second?.requestKey).toBe(first?.requestKey)
    expect(first?.outcome).toBe('uncertain')
    expect(life.doc.steps['read']?.attempts).toHaveLength(1)
  })

  it('whose children never settle is investigated in the time that was told', () => {
    const life = begun()
    life.does(accepted(life.starts(provider), 'local/claim/2'))
    for (let minute = 0; minute < 30 && life.doc.status === 'processing'; minute += 1) {
      life.passes(60_000)
      if (life.doc.queue.some(({ step }) => step === 'pages'))
        life.does(accepted(life.starts(provider), 'local/claim/2'))
    }
    expect(life.doc.status).toBe('investigation')
    expect(life.doc.steps['pages']?.attempts).toHaveLength(2)
    expect(life.doc.settledAt!.getTime()).toBeLessThanOrEqual(life.doc.settlesBy.getTime())
  })

  it('whose child failed for good is investigated at once', () => {
    const life = begun()
    const mapping = life.starts(provider)
    life.does(accepted(mapping, 'local/claim/2'))
    life.does(uncertain(mapping))
    expect(life.state).toMatch(/^pages\.awaiting/)
    life.does(failed(mapping, { retryable: false, kind: 'executed' }))
    expect(life.doc.status).toBe('investigation')
  })
})
