/**
 * A config typed end to end: what a step sees is what the steps before it give, and a misspelt name does not compile.
 * The compiler is the judge (`npx tsc -p tsconfig.json`): an expected error that does not come is an error.
 */
import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import type { OwnGuard, StepOptions } from '../../src/config/builder.js'
import { endstate } from '../../src/config/builder.js'
import type { OutputsOf } from '../../src/config/chain-types.js'
import type { Usage } from '../../src/machines/record.js'
import { factory } from './providers.js'

const es = endstate({ providers: { ocr: factory(), gpt: factory(), claude: factory() } })
const page = z.object({ text: z.string(), pages: z.number() })
const fields = z.object({ name: z.string().nullable(), urgent: z.boolean().default(false) })
const base = { revision: 1, accepts: ['image/*'] } as const
const read = { use: ['ocr'], deadline: '30s', output: page } as const

describe('a request', () => {
  it('is typed from the outputs of the steps before it', () => {
    es.pipeline('referral', base)
      .step('read', { ...read, request: (outputs) => expectTypeOf(outputs).toEqualTypeOf<{}>() })
      .step('extract', {
        use: ['gpt', 'claude'],
        deadline: '60s',
        output: fields,
        request: ({ read: found, ...rest }) => {
          expectTypeOf(found).toEqualTypeOf<{ text: string; pages: number }>()
          expectTypeOf(rest).toEqualTypeOf<{}>()
        },
      })
      .step('check', {
        use: ['claude'],
        deadline: '5s',
        output: z.boolean(),
        request: (outputs) => {
          expectTypeOf(outputs.read.text).toBeString()
          expectTypeOf(outputs.extract).toEqualTypeOf<{ name: string | null; urgent: boolean }>()
          return outputs.extract.name
        },
      })
  })

  it('can’t name a step that is misspelt, that comes later, or a field that is not there', () => {
    const pipeline = es.pipeline('referral', base).step('read', read)
    pipeline.step('extract', {
      ...read,
      // @ts-expect-error -- the step is called `read`
      request: ({ raed }) => raed,
    })
    pipeline.step('extract', {
      ...read,
      // @ts-expect-error -- `check` comes later
      request: ({ check }) => check,
    })
    pipeline.step('extract', {
      ...read,
      // @ts-expect-error -- its output has no field `txt`
      request: (outputs) => outputs.read.txt,
    })
  })
})

describe('a step', () => {
  const pipeline = es.pipeline('referral', base)

  it('can only use providers that the config defines, and at least one', () => {
    // @ts-expect-error -- the provider is called `ocr`
    pipeline.step('read', { ...read, use: ['orc'] })
    // @ts-expect-error -- the second one is misspelt
    pipeline.step('read', { ...read, use: ['gpt', 'cluade'] })
    // @ts-expect-error -- no provider at all
    pipeline.step('read', { ...read, use: [] })
  })

  it('can’t have the name of an earlier one', () => {
    // @ts-expect-error -- `read` is taken
    pipeline.step('read', read).step('read', read)
    // @ts-expect-error -- `read` is taken, also after another
    pipeline.step('read', read).step('extract', read).step('read', read)
  })

  it('has durations and decimal amounts as the types say', () => {
    // @ts-expect-error -- no unit
    expect(() => pipeline.step('read', { ...read, deadline: '30' })).toThrow('deadline of step "read"')
    // @ts-expect-error -- an amount is a text
    pipeline.step('read', { ...read, price: { fixed: 0.4, currency: 'EUR' } })
    // @ts-expect-error -- no such policy
    pipeline.step('read', { ...read, onUncertain: 'retry' })
    // @ts-expect-error -- no deadline
    expect(() => pipeline.step('read', { use: ['ocr'], output: page })).toThrow('deadline of step "read"')
    // @ts-expect-error -- no output
    pipeline.step('read', { use: ['ocr'], deadline: '1s' })
  })
})

describe('a price rule', () => {
  const price = { fixed: '0.40', currency: 'EUR' } as const

  it('is typed from its own step’s output', () => {
    es.pipeline('referral', base).step('read', {
      ...read,
      price: {
        ...price,
        unless: (output) => {
          expectTypeOf(output).toEqualTypeOf<{ text: string; pages: number }>()
          return output.text === ''
        },
      },
    })
  })

  it('for another output, or one that answers no boolean, does not compile', () => {
    const pipeline = es.pipeline('referral', base)
    // @ts-expect-error -- the output has no `blank`
    pipeline.step('read', { ...read, price: { ...price, unless: (output) => output.blank } })
    // @ts-expect-error -- this rule is for another output
    pipeline.step('read', { ...read, price: { ...price, unless: (output: { blank: boolean }) => output.blank } })
    // @ts-expect-error -- a number is no answer
    pipeline.step('read', { ...read, price: { ...price, unless: (output) => output.pages } })
  })

  it('has one of the forms, and its function is typed by usage and output', () => {
    const pipeline = es.pipeline('referral', base)
    const amount = ({ output, usage }: { output: { pages: number }; usage: Usage }) =>
      `${output.pages}.${usage.pages ?? 0}`
    pipeline.step('read', { ...read, price: { perPage: '0.05', currency: 'EUR' } })
    pipeline.step('read', { ...read, price: { perMillionTokens: { output: '4' }, currency: 'EUR' } })
    pipeline.step('read', { ...read, price: { amount, currency: 'EUR' } })
    pipeline.step('read', {
      ...read,
      price: {
        currency: 'EUR',
        amount: ({ output, usage }) => {
          expectTypeOf(output).toEqualTypeOf<{ text: string; pages: number }>()
          expectTypeOf(usage.pages).toEqualTypeOf<number | undefined>()
          return '1'
        },
      },
    })
    // @ts-expect-error -- an amount is a text
    pipeline.step('read', { ...read, price: { amount: () => 0.4, currency: 'EUR' } })
    // @ts-expect-error -- the output has no `lines`
    pipeline.step('read', { ...read, price: { amount: ({ output }) => output.lines, currency: 'EUR' } })
    // @ts-expect-error -- two forms
    pipeline.step('read', { ...read, price: { fixed: '1', perPage: '1', currency: 'EUR' } })
    // @ts-expect-error -- none
    pipeline.step('read', { ...read, price: { currency: 'EUR' } })
  })
})

describe('a machine by hand', () => {
  const machine = es.machine('urgent', {
    ...base,
    steps: (chain) =>
      chain.step('read', read).step('sort', {
        use: ['gpt'],
        deadline: '5s',
        output: fields,
        request: (outputs) => expectTypeOf(outputs).toEqualTypeOf<{ read: { text: string; pages: number } }>(),
      }),
  })

  it('has states only for the steps that it defines', () => {
    expectTypeOf(machine.step).parameter(0).toEqualTypeOf<'read' | 'sort'>()
    machine.step('read', { done: 'sort', exhausted: 'investigation' })
    // @ts-expect-error -- no such step
    expect(() => machine.step('typo', { done: 'sort' })).toThrow('has no step "typo"')
    // @ts-expect-error -- a step needs to know where it goes
    machine.step('sort', { exhausted: 'investigation' })
  })

  it('has guards that are typed from the outputs, each of which may not be there yet', () => {
    type Outputs = { read: { text: string; pages: number }; sort: { name: string | null; urgent: boolean } }
    machine.setup({
      guards: {
        isUrgent: (outputs, data) => {
          expectTypeOf(outputs).toEqualTypeOf<Partial<Outputs>>()
          expectTypeOf(data).toBeUnknown()
          return outputs.sort?.urgent === true
        },
        isLong: ({ read: found }) => (found?.pages ?? 0) > 3,
      },
      delays: { patience: '2h' },
    })
    expectTypeOf<OwnGuard<Outputs>>().returns.toBeBoolean()
  })

  it('has no guards over outputs that may be missing, misspelt or of another type', () => {
    // @ts-expect-error -- `sort` may not have run yet
    machine.setup({ guards: { isUrgent: ({ sort }) => sort.urgent } })
    // @ts-expect-error -- no step is called `srot`
    machine.setup({ guards: { isUrgent: ({ srot }) => srot?.urgent === true } })
    // @ts-expect-error -- a text is no answer
    machine.setup({ guards: { isNamed: ({ sort }) => sort?.name ?? '' } })
    // @ts-expect-error -- no duration
    const author = machine.setup({ delays: { patience: 'soon' } })
    expect(() => author.createMachine({ initial: 'read', states: {} })).toThrow('delay "patience" of machine "urgent"')
  })

  it('can’t define a step twice, or use a provider that is not there', () => {
    es.machine('odd', {
      ...base,
      // @ts-expect-error -- `read` is taken
      steps: (chain) => chain.step('read', read).step('read', read),
    })
    es.machine('odd', {
      ...base,
      // @ts-expect-error -- the provider is called `ocr`
      steps: (chain) => chain.step('read', { ...read, use: ['orc'] }),
    })
  })
})

describe('a pipeline', () => {
  it('knows the outputs that its steps add up to', () => {
    const pipeline = es
      .pipeline('referral', base)
      .step('read', read)
      .step('extract', { ...read, output: fields })
    type Outputs = OutputsOf<typeof pipeline>
    expectTypeOf<Outputs['extract']>().toEqualTypeOf<{ name: string | null; urgent: boolean }>()
    expectTypeOf<keyof Outputs>().toEqualTypeOf<'read' | 'extract'>()
    expect(pipeline.definition.steps.map(({ name }) => name)).toEqual(['read', 'extract'])
  })

  it('is not changed by the step that is added to it', () => {
    const first = es.pipeline('referral', base).step('read', read)
    first.step('extract', read)
    expect(first.definition.steps).toHaveLength(1)
  })

  it('needs a revision and what it accepts', () => {
    // @ts-expect-error -- no revision
    es.pipeline('referral', { accepts: ['image/*'] })
    // @ts-expect-error -- nothing accepted
    es.pipeline('referral', { revision: 1 })
  })

  it('has step options that can be written apart', () => {
    const apart: StepOptions<'ocr' | 'gpt' | 'claude', { read: string }, typeof page> = {
      ...read,
      request: (outputs) => outputs.read.length,
    }
    expect(apart.use).toEqual(['ocr'])
  })
})
