/** A config as every role of a process takes it: compiled and proven, or refused with everything that is wrong. */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { EndstateConfig, PipelineSource } from '../../src/config/builder.js'
import { endstate } from '../../src/config/builder.js'
import { compileConfig, ConfigRefused } from '../../src/config/pipelines.js'
import { PipelineRefused } from '../../src/machines/compile.js'
import { factory } from '../types/providers.js'

const es = endstate({ providers: { ocr: factory(), gpt: factory({ cost: 'paid' }) } })
const base = { revision: 1, accepts: ['image/*'] } as const
const read = { use: ['ocr'], deadline: '30s', output: z.object({ text: z.string() }) } as const
const referral = es.pipeline('referral', base).step('read', read)

const refusal = (config: EndstateConfig): Error & { code: string } => {
  try {
    compileConfig(config)
  } catch (error) {
    if (error instanceof ConfigRefused || error instanceof PipelineRefused) return error
    throw error
  }
  throw new Error('It was accepted.')
}
const refusalOf = (...pipelines: PipelineSource[]) => refusal(es.config({ pipelines })).message

describe('a sound config', () => {
  const claim = es.pipeline('claim', base).step('read', read)
  const set = compileConfig(es.config({ pipelines: [referral, claim] }))

  it('gives its pipelines by name and by version', () => {
    expect(set.all().map(({ definition }) => definition.name)).toEqual(['referral', 'claim'])
    const found = set.byName('referral')!
    expect(set.byVersion(found.version)).toBe(found)
    expect(set.byName('nobody')).toBeUndefined()
    expect(set.byVersion('')).toBeUndefined()
  })

  it('gives each a proof, a deadline and the terms of the providers that it uses', () => {
    const { terms, deadlineMs, worstCaseMs, verification } = set.byName('referral')!
    expect(Object.keys(terms)).toEqual(['ocr'])
    expect(verification.ok).toBe(true)
    expect(worstCaseMs).toBeGreaterThan(deadlineMs)
  })

  it('has the source `local` unless it says otherwise', () => {
    expect(es.config({ pipelines: [referral] }).sources).toEqual(['local'])
    expect(es.config({ pipelines: [referral], sources: ['clinic'] }).sources).toEqual(['clinic'])
  })

  it('has the same versions each time it is compiled, and another for another revision', () => {
    const again = compileConfig(es.config({ pipelines: [referral, claim] }))
    expect(again.all().map(({ version }) => version)).toEqual(set.all().map(({ version }) => version))
    const raised = es.pipeline('referral', { ...base, revision: 2 }).step('read', read)
    expect(compileConfig(es.config({ pipelines: [raised] })).all()[0]!.version).not.toBe(
      set.byName('referral')!.version,
    )
  })

  it('has another version for each declarative part that changes', () => {
    const versionOf = (source: PipelineSource) => compileConfig(es.config({ pipelines: [source] })).all()[0]!.version
    const changed = (change: object, options: object = {}) =>
      versionOf(es.pipeline('referral', { ...base, ...options }).step('read', { ...read, ...change }))
    const versions = [
      changed({}),
      changed({ output: z.object({ text: z.string(), pages: z.number() }) }),
      changed({ attempts: 2 }),
      changed({ backoff: { max: '40s' } }),
      changed({ price: { fixed: '0.40', currency: 'EUR' } }),
      changed({ price: { fixed: '0.40', currency: 'EUR', unless: () => true } }),
      changed({ onUncertain: 'fallback' }),
      changed({}, { maxWait: '2h' }),
      changed({}, { accepts: ['image/png'] }),
      changed({}, { inputBytesMax: 1_000 }),
      changed({}, { price: { fixed: '1', currency: 'EUR' } }),
      changed({}, { lease: { failover: '20s' } }),
    ]
    expect(new Set(versions).size).toBe(versions.length)
    expect(changed({ request: () => 'other' })).toBe(versions[0])
  })
})

describe('a config is refused', () => {
  it('without a pipeline, saying what to do', () => {
    const error = refusal(es.config({ pipelines: [] }))
    expect(error).toMatchObject({ code: 'config-refused' })
    expect(error.message).toBe('The config lists no pipeline; add one to "pipelines".')
  })

  it('with two pipelines of one name', () => {
    expect(refusalOf(referral, referral)).toBe('The config defines pipeline "referral" twice; rename one of them.')
  })

  it.each(['OCR', 'o_cr', '', 'x'.repeat(41), 'a.b', 'a b'])('with a provider called %j', (name) => {
    const odd = endstate({ providers: { [name]: factory() } })
    const config = odd.config({ pipelines: [odd.pipeline('p', base).step('read', { ...read, use: [name] })] })
    expect(refusal(config).message).toContain(`The name "${name}" must be of a-z, 0-9 and "-"`)
  })

  it.each(['Clinic', 'a.b', '*', '>'])('with a source called %j', (source) => {
    expect(refusal(es.config({ pipelines: [referral], sources: [source] })).message).toContain(`The name "${source}"`)
  })
})

describe('a pipeline is refused', () => {
  const pipeline = (options: object) => es.pipeline('referral', { ...base, ...options } as never).step('read', read)
  const withStep = (options: object, name = 'read') =>
    es.pipeline('referral', base).step(name, { ...read, ...options } as never)

  it('by name, listing all that is wrong with it', () => {
    const error = refusal(
      es.config({
        pipelines: [es.pipeline('Referral', { ...base, revision: 0 }).step('read', { ...read, attempts: 0 })],
      }),
    )
    expect(error).toMatchObject({ code: 'pipeline-refused', pipeline: 'Referral' })
    expect(error.message).toMatch(/^Pipeline "Referral" is refused:\n/)
    for (const part of ['The name "Referral"', 'The revision', 'allows 0 attempts'])
      expect(error.message).toContain(part)
  })

  it.each<[string, PipelineSource, string]>([
    ['without a step', es.pipeline('referral', base), 'It has no steps'],
    ['that accepts nothing', pipeline({ accepts: [] }), 'It accepts nothing'],
    ['that accepts no media type', pipeline({ accepts: ['png'] }), 'It accepts "png"'],
    ['with a revision that is no whole number', pipeline({ revision: 1.5 }), 'The revision'],
    ['with an input limit of 0', pipeline({ inputBytesMax: 0 }), 'Its inputBytesMax is 0'],
    [
      'with a price that is no amount',
      pipeline({ price: { fixed: '1,50', currency: 'EUR' } }),
      'The record has the price "1,50"',
    ],
    [
      'with a price that is a number',
      pipeline({ price: { fixed: 0.4, currency: 'EUR' } }),
      'The record has the price 0.4;',
    ],
    ['with a step’s price that is a number', withStep({ price: { fixed: 0.4, currency: 'EUR' } }), 'the price 0.4;'],
    ['with a policy that is none', withStep({ use: ['gpt'], onUncertain: 'repeat' }), 'the onUncertain "repeat"'],
    ['with a currency that is none', pipeline({ price: { fixed: '1', currency: '€' } }), 'a price in "€"'],
    ['with a step of a reserved name', withStep({}, 'investigation'), 'has a name that the record machine uses itself'],
    ['with a step of an odd name', withStep({}, 'Read it'), 'needs a name of a-z'],
    ['with a provider twice', withStep({ use: ['ocr', 'ocr'] }), 'names a provider twice'],
    ['with a provider that nobody defines', withStep({ use: ['nobody'] }), 'Known: ocr, gpt.'],
    ['with too many attempts', withStep({ attempts: 11 }), 'allows 11 attempts'],
    ['with a deadline of 0', withStep({ deadline: 0 }), 'needs a deadline between 1 ms and 24 h'],
    ['with a deadline of two days', withStep({ deadline: '2d' }), 'needs a deadline between 1 ms and 24 h'],
    ['with an output that is no schema', withStep({ output: { text: 'string' } }), 'has no zod schema'],
    ['with a step’s price below 0', withStep({ price: { fixed: '-1', currency: 'EUR' } }), 'has the price "-1"'],
    [
      'with two forms of price',
      withStep({ price: { fixed: '1', perPage: '1', currency: 'EUR' } }),
      'has a price with fixed and perPage',
    ],
    ['with a price of no form', withStep({ price: { currency: 'EUR' } }), 'has a price with no amount'],
    [
      'with a price per page that is a number',
      withStep({ price: { perPage: 0.1, currency: 'EUR' } }),
      'has the price 0.1;',
    ],
    [
      'with a price for tokens of neither kind',
      withStep({ price: { perMillionTokens: {}, currency: 'EUR' } }),
      'that names neither',
    ],
    ['with an amount that is no function', withStep({ price: { amount: '1', currency: 'EUR' } }), 'no function'],
    ['with a price of a leading zero', withStep({ price: { fixed: '01', currency: 'EUR' } }), 'has the price "01"'],
    ['with a step’s currency missing', withStep({ price: { fixed: '1' } }), 'has a price in "undefined"'],
    ['with a paid blind step without a policy', withStep({ use: ['gpt'] }), 'state what then'],
    [
      'with a budget that is none',
      withStep({ use: ['gpt'], onUncertain: { retry: { duplicateBudget: -1 } } }),
      'has a duplicateBudget',
    ],
    ['with a policy without a budget', withStep({ use: ['gpt'], onUncertain: { retry: {} } }), 'has a duplicateBudget'],
  ])('%s', (_, source, reason) => {
    expect(refusalOf(source)).toContain(reason)
  })

  it.each<[string, () => unknown]>([
    ['Pipeline "referral" has the option "maxwait"', () => pipeline({ maxwait: '1h' })],
    ['Pipeline "referral" has the option "lease.sendwithin"', () => pipeline({ lease: { sendwithin: '1s' } })],
    ['Step "read" has the option "attemps"', () => withStep({ attemps: 1 })],
    [
      'Step "read" has the option "price.perMillionTokens.inputs"',
      () => withStep({ price: { perMillionTokens: { inputs: '1' }, currency: 'EUR' } }),
    ],
    ['Step "read" has the option "price.unles"', () => withStep({ price: { fixed: '1', currency: 'EUR', unles: 1 } })],
    ['Step "read" has the option "toString"', () => withStep({ toString: 1 })],
    ['Machine "own" has the option "step"', () => es.machine('own', { ...base, step: [] } as never)],
    ['The config has the option "source"', () => es.config({ pipelines: [], source: ['clinic'] } as never)],
  ])('by the builder, for an option that would be ignored: %s', (reason, build) => {
    expect(build).toThrow(`${reason}, which there is not. Known: `)
  })

  it('with a step that is defined twice', () => {
    const first = es.pipeline('referral', base).step('read', read)
    expect(refusalOf(first.step('read' as never, read))).toContain('Step "read" is defined twice.')
  })

  it('when its provider forgets keys before the record’s deadline', () => {
    const odd = endstate({ providers: { keyed: factory({ recovery: 'idempotent', keyTtlMs: 60_000 }) } })
    const config = odd.config({ pipelines: [odd.pipeline('p', base).step('read', { ...read, use: ['keyed'] })] })
    expect(refusal(config).message).toContain('forgets a request key after 60000 ms')
  })

  it('when a record of it could outgrow its document', () => {
    const steps = Array.from({ length: 40 }, (_, n) => `step-${n}`)
    const large = steps.reduce<PipelineSource & { step: (name: never, options: never) => never }>(
      (all, name) => all.step(name as never, read as never),
      es.pipeline('large', base) as never,
    )
    expect(refusalOf(large)).toMatch(/could grow to \d+ bytes, over the limit of 4194304/)
  })

  it('when its machine by hand never settles', () => {
    const machine = es.machine('patient', { ...base, steps: (chain) => chain.step('read', read) })
    const source = machine.setup({}).createMachine({
      initial: 'read',
      states: { read: machine.step('read', { done: 'waiting' }), waiting: {}, ...machine.settled },
    })
    expect(refusalOf(source)).toContain('State "waiting" has no timer')
  })
})
