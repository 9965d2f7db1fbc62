/** Forms as a config compiles them: proven to end, with the providers that they bring, or refused by name. */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { PipelineSource } from '../../src/config/builder.js'
import { endstate } from '../../src/config/builder.js'
import { compileConfig } from '../../src/config/pipelines.js'
import { describeMachine } from '../../src/machines/describe.js'
import { readDiagram } from '../machines/mermaid-grammar.js'
import { factory } from '../types/providers.js'

const es = endstate({ providers: { ocr: factory(), gpt: factory(), claude: factory() } })
const base = { revision: 1, accepts: ['application/json'], maxWait: '10m' } as const
const out = z.object({ sum: z.number() })
const add = { output: out, deadline: '10s' } as const
const read = es.pipeline('claim', base).step('read', { ...add, use: ['ocr'] })
const page = es.pipeline('page', base).step('sum', { ...add, use: ['gpt'] })
const vote = { ...add, of: ['gpt', 'claude'], agree: () => true } as const

const compiled = (...pipelines: PipelineSource[]) => compileConfig(es.config({ pipelines })).all()[0]!

describe('each form', () => {
  const forms: [string, PipelineSource, PipelineSource[]][] = [
    [
      'parallel',
      read.parallel('both', (branch) => ({
        left: branch.step('one', { ...add, use: ['gpt'] }),
        right: branch.step('two', { ...add, use: ['claude'] }).optional(),
      })),
      [],
    ],
    [
      'choose',
      read.choose('way', (choice) =>
        choice
          .when(
            'more',
            () => true,
            (branch) => branch.step('one', { ...add, use: ['gpt'] }),
          )
          .otherwise(),
      ),
      [],
    ],
    ['vote', read.vote('add', vote), []],
    ['map', read.map('pages', { over: () => [], pipeline: page, max: 5, wait: '10m' }), [page]],
    ['compute', read.compute('size', { output: z.number() }, () => 1), []],
    [
      'a vote in an optional region',
      read.parallel('both', (branch) => ({
        left: branch.step('one', { ...add, use: ['gpt'] }),
        right: branch.vote('add', vote).optional(),
      })),
      [],
    ],
  ]

  it.each(forms)('%s is proven to end, in a time', (_, pipeline, others) => {
    const { verification, worstCaseMs, deadlineMs } = compiled(pipeline, ...others)
    expect(verification.ok).toBe(true)
    expect(worstCaseMs).toBeGreaterThan(deadlineMs)
    expect(Number.isFinite(worstCaseMs)).toBe(true)
  })

  it.each(forms)(
    '%s has a chart: a diagram that can be drawn, every state with what it means',
    (_, pipeline, others) => {
      const { mermaid, states } = describeMachine(compiled(pipeline, ...others))
      expect(readDiagram(mermaid).states.size).toBeGreaterThanOrEqual(states.length - 1)
      expect(states.filter(({ description }) => description === null).map(({ id }) => id)).toEqual([])
    },
  )

  it('takes its time: a map as long as it may wait, regions as long as the longest', () => {
    const short = compiled(read.map('pages', { over: () => [], pipeline: page, max: 5, wait: '1m' }), page)
    const long = compiled(read.map('pages', { over: () => [], pipeline: page, max: 5, wait: '1h' }), page)
    expect(long.worstCaseMs - short.worstCaseMs).toBeGreaterThan(59 * 60_000)
  })

  it('brings its provider, and no other', () => {
    const providersOf = (...pipelines: PipelineSource[]) =>
      Object.keys(es.config({ pipelines }).providers).filter((name) => name.startsWith('endstate-'))
    expect(providersOf(read)).toEqual([])
    expect(providersOf(read.vote('add', vote))).toEqual(['endstate-vote'])
    const map = read.map('pages', { over: () => [], pipeline: page, max: 5, wait: '10m' })
    expect(
      providersOf(
        map.compute('size', { output: z.number() }, () => 1),
        page,
      ),
    ).toEqual(['endstate-records-600s', 'endstate-compute'])
  })

  it('changes the version, and a sequence has no chart of its own', () => {
    expect(read.own).toBeUndefined()
    expect(read.compute('size', { output: z.number() }, () => 1).own).toBeUndefined()
    const optional = (is: boolean) =>
      compiled(
        read.parallel('both', (branch) => {
          const right = branch.step('two', { ...add, use: ['claude'] })
          return { left: branch.step('one', { ...add, use: ['gpt'] }), right: is ? right.optional() : right }
        }),
      ).version
    expect(optional(true)).not.toBe(optional(false))
  })
})

describe('what a form can’t be', () => {
  const step = { ...add, use: ['gpt'] } as const

  it.each<[string, () => unknown, string]>([
    ['a vote of one voter twice', () => read.vote('add', { ...vote, of: ['gpt', 'gpt'] }), 'one opinion counted twice'],
    ['a quorum of one', () => read.vote('add', { ...vote, quorum: 1 }), 'a whole number from 2 to 2'],
    ['a quorum that no voters reach', () => read.vote('add', { ...vote, quorum: 3 }), 'a whole number from 2 to 2'],
    [
      'a voter’s step without a name',
      () => read.vote('a-name-that-is-long-enough-as-it-is-now', vote),
      '"a-name-that-is-long-enough-as-it-is-now-gpt" needs a name',
    ],
    ['an option that there is not', () => read.vote('add', { ...vote, quorom: 2 } as never), 'the option "quorom"'],
    [
      'a tie-breaker’s option',
      () => read.vote('add', { ...vote, tieBreaker: { use: ['ocr'], of: [] } as never }),
      'The tie-breaker of vote "add" has the option "of"',
    ],
    ['one region', () => read.parallel('both', (b) => ({ a: b.step('one', step) })), 'has 1 regions'],
    [
      'an empty region',
      () => read.parallel('both', (b) => ({ a: b.step('one', step), b })),
      'the region "b" has no step',
    ],
    [
      'a name for two things',
      () => read.parallel('one', (b) => ({ a: b.step('one', step), b: b.step('two', step) })),
      'The name "one" is taken',
    ],
    [
      'a settled state’s name',
      () => read.parallel('completed', (b) => ({ a: b.step('one', step), b: b.step('two', step) })),
      'taken',
    ],
    [
      'a map without a bound',
      () => read.map('pages', { over: () => [], pipeline: page, max: 0, wait: '1m' }),
      'max of 0',
    ],
    [
      'a map to nowhere',
      () => es.config({ pipelines: [read.map('pages', { over: () => [], pipeline: page, max: 1, wait: '1m' })] }),
      'does not list',
    ],
    [
      'a map to pictures',
      () => {
        const scans = es.pipeline('scans', { ...base, accepts: ['image/*'] }).step('sum', step)
        es.config({ pipelines: [read.map('pages', { over: () => [], pipeline: scans, max: 1, wait: '1m' }), scans] })
      },
      'takes no JSON',
    ],
    [
      'a provider with a reserved name',
      () => endstate({ providers: { 'endstate-vote': factory() } }),
      'needs another name',
    ],
  ])('%s', (_, make, message) => {
    expect(make).toThrow(message)
  })

  it('a step in two ways', () => {
    const twice = read.choose('way', (choice) =>
      choice
        .when(
          'more',
          () => true,
          (branch) => branch.step('one', step),
        )
        .otherwise((branch) => branch.step('one', step)),
    )
    expect(() => compiled(twice)).toThrow('Step "one" is defined twice')
  })
})
