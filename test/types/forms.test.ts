/** The forms of a pipeline typed end to end: what later steps see of regions, ways, votes, maps and functions. */
import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { endstate } from '../../src/config/builder.js'
import type { OutputsOf } from '../../src/config/chain-types.js'
import { factory } from './providers.js'

const es = endstate({ providers: { ocr: factory(), gpt: factory(), claude: factory() } })
const base = { revision: 1, accepts: ['image/*'] } as const
const page = z.object({ text: z.string() })
const total = z.object({ sum: z.number() })
const read = { use: ['ocr'], deadline: '30s', output: page } as const
const add = { use: ['gpt'], deadline: '30s', output: total } as const
const start = es.pipeline('claim', base).step('read', read)
type Start = { read: { text: string } }

describe('parallel regions', () => {
  it('see what was before, not each other, and give all their outputs', () => {
    const joined = start.parallel('both', (branch) => ({
      left: branch.step('one', { ...add, request: (outputs) => expectTypeOf(outputs).toEqualTypeOf<Start>() }),
      right: branch
        .step('two', { ...read, request: (outputs) => expectTypeOf(outputs).toEqualTypeOf<Start>() })
        .step('three', { ...add, request: ({ two }) => expectTypeOf(two).toEqualTypeOf<{ text: string }>() }),
    }))
    joined.step('last', {
      ...read,
      request: (outputs) => {
        expectTypeOf(outputs.one).toEqualTypeOf<{ sum: number }>()
        expectTypeOf(outputs.two).toEqualTypeOf<{ text: string }>()
        expectTypeOf(outputs.three).toEqualTypeOf<{ sum: number }>()
        expectTypeOf(outputs.read).toEqualTypeOf<{ text: string }>()
      },
    })
  })

  it('that are optional give theirs as possibly undefined', () => {
    const joined = start.parallel('both', (branch) => ({
      left: branch.step('one', add),
      right: branch.step('two', read).optional(),
    }))
    type Outputs = OutputsOf<typeof joined>
    expectTypeOf<Outputs['one']>().toEqualTypeOf<{ sum: number }>()
    expectTypeOf<Outputs['two']>().toEqualTypeOf<{ text: string } | undefined>()
    expectTypeOf<keyof Outputs>().toEqualTypeOf<'read' | 'one' | 'two'>()
  })

  it('can’t use what another region has, a provider that is not there, or a taken name', () => {
    start.parallel('both', (branch) => ({
      left: branch.step('one', add),
      // @ts-expect-error -- `one` is in the other region
      right: branch.step('two', { ...read, request: ({ one }) => one }),
    }))
    start.parallel('both', (branch) => ({
      // @ts-expect-error -- the provider is called `ocr`
      a: branch.step('one', { ...read, use: ['orc'] }),
      b: branch.step('two', add),
    }))
    expect(() =>
      // @ts-expect-error -- `read` is taken
      start.parallel('read', (branch) => ({ a: branch.step('one', add), b: branch.step('two', add) })),
    ).toThrow('The name "read" is taken')
  })
})

describe('a choice', () => {
  const chosen = start.choose('way', (choice) =>
    choice
      .when(
        'long',
        ({ read: found }) => found.text.length > 100,
        (branch) => branch.step('sum', { ...add, request: (outputs) => expectTypeOf(outputs).toEqualTypeOf<Start>() }),
      )
      .otherwise(),
  )

  it('is an output, and those of its ways are possibly undefined', () => {
    type Outputs = OutputsOf<typeof chosen>
    expectTypeOf<Outputs['way']>().toEqualTypeOf<'long' | 'otherwise'>()
    expectTypeOf<Outputs['sum']>().toEqualTypeOf<{ sum: number } | undefined>()
    expectTypeOf<Outputs['read']>().toEqualTypeOf<{ text: string }>()
  })

  it('has guards over what is there, ways of different names, and an end', () => {
    start.choose('way', (choice) =>
      choice
        .when(
          'long',
          // @ts-expect-error -- there is no step `raed`
          ({ raed }) => raed,
          (branch) => branch,
        )
        .otherwise(),
    )
    expect(() =>
      start.choose('way', (choice) =>
        choice
          .when(
            'long',
            () => true,
            (branch) => branch,
          )
          .when(
            // @ts-expect-error -- `long` is taken
            'long',
            () => true,
            (branch) => branch,
          )
          .otherwise(),
      ),
    ).toThrow('the way "long" twice')
  })
})

describe('a vote', () => {
  const options = { of: ['gpt', 'claude'], output: total, deadline: '30s', agree: () => true } as const

  it('is typed by its schema in every function', () => {
    const voted = start.vote('add', {
      ...options,
      request: (outputs, voter) => {
        expectTypeOf(outputs).toEqualTypeOf<Start>()
        expectTypeOf(voter).toEqualTypeOf<'ocr' | 'gpt' | 'claude'>()
      },
      agree: (a, b) => {
        expectTypeOf(a).toEqualTypeOf<{ sum: number }>()
        return a.sum === b.sum
      },
      merge: (answers) => {
        expectTypeOf(answers).toEqualTypeOf<readonly { sum: number }[]>()
        return answers[0]!
      },
      tieBreaker: {
        use: ['ocr'],
        request: (outputs, answers) => {
          expectTypeOf(outputs).toEqualTypeOf<Start>()
          expectTypeOf(answers).toEqualTypeOf<readonly { sum: number }[]>()
        },
      },
      price: { fixed: '0.40', currency: 'EUR', unless: ({ sum }) => sum === 0 },
    })
    expectTypeOf<OutputsOf<typeof voted>['add']>().toEqualTypeOf<{ sum: number }>()
  })

  it('needs two voters that there are, and answers of its own form', () => {
    // @ts-expect-error -- one voter
    expect(() => start.vote('add', { ...options, of: ['gpt'] })).toThrow('has 1 voters')
    // @ts-expect-error -- no such provider
    start.vote('add', { ...options, of: ['gpt', 'cluade'] })
    // @ts-expect-error -- the output has no `total`
    start.vote('add', { ...options, agree: (a, b) => a.total === b.total })
    // @ts-expect-error -- the merged output has another form
    start.vote('add', { ...options, merge: () => ({ text: '' }) })
  })
})

describe('a map', () => {
  const child = es
    .pipeline('page', { ...base, accepts: ['application/json'] })
    .step('sum', add)
    .step('note', read)
  const bounds = { max: 5, wait: '10m' } as const

  it('gives all outputs of each record, or those of one step, or null for what failed', () => {
    const all = start.map('pages', { ...bounds, over: ({ read: found }) => found.text.split(' '), pipeline: child })
    expectTypeOf<OutputsOf<typeof all>['pages'][number]['sum']>().toEqualTypeOf<{ sum: number }>()
    const one = start.map('pages', { ...bounds, over: () => [], pipeline: child, take: 'sum' })
    expectTypeOf<OutputsOf<typeof one>['pages']>().toEqualTypeOf<{ sum: number }[]>()
    const some = start.map('pages', { ...bounds, over: () => [], pipeline: child, take: 'sum', partial: true })
    expectTypeOf<OutputsOf<typeof some>['pages']>().toEqualTypeOf<({ sum: number } | null)[]>()
  })

  it('maps over a list of what is there, to a step that the pipeline has', () => {
    // @ts-expect-error -- a text is no list
    start.map('pages', { ...bounds, over: ({ read: found }) => found.text, pipeline: child })
    // @ts-expect-error -- the pipeline has no step `total`
    start.map('pages', { ...bounds, over: () => [], pipeline: child, take: 'total' })
  })
})

describe('a computed step', () => {
  it('is a function of the outputs so far, checked by its schema', () => {
    const computed = start.compute('size', { output: z.number() }, (outputs, input) => {
      expectTypeOf(outputs).toEqualTypeOf<Start>()
      expectTypeOf(input.mediaType).toBeString()
      return outputs.read.text.length
    })
    expectTypeOf<OutputsOf<typeof computed>['size']>().toEqualTypeOf<number>()
    // @ts-expect-error -- a text is no number
    start.compute('size', { output: z.number() }, ({ read: found }) => found.text)
  })
})
