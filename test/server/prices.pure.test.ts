/** Every form of price as the API shows it. */
import { expect, test } from 'vitest'
import { pipelineSchema } from '../../src/server/schemas.js'
import { pipelineView } from '../../src/server/views.js'
import { endstate } from '../../src/config/builder.js'
import { compileConfig } from '../../src/config/pipelines.js'
import { z } from 'zod'
import { factory } from '../types/providers.js'

const es = endstate({ providers: { ocr: factory() } })
const step = { use: ['ocr'], deadline: '1s', output: z.string() } as const

test('each form is named, with its amounts; a function is said to be one', () => {
  const pipeline = es
    .pipeline('priced', { revision: 1, accepts: ['image/*'], price: { fixed: '1.00', currency: 'EUR' } })
    .step('a', { ...step, price: { fixed: '0.40', currency: 'EUR' } })
    .step('b', { ...step, price: { perPage: '0.05', currency: 'EUR' } })
    .step('c', { ...step, price: { perMillionTokens: { input: '3' }, currency: 'USD' } })
    .step('d', { ...step, price: { amount: () => '1', currency: 'EUR' } })
    .step('e', step)
  const shown = pipelineView(compileConfig(es.config({ pipelines: [pipeline] })).all()[0]!)
  expect(pipelineSchema.safeParse(shown).error).toBeUndefined()
  expect([shown.price, ...shown.steps.map(({ price }) => price)]).toEqual([
    { amount: '1.00', currency: 'EUR', form: 'fixed' },
    { amount: '0.40', currency: 'EUR', form: 'fixed' },
    { amount: null, currency: 'EUR', form: 'perPage', perPage: '0.05' },
    { amount: null, currency: 'USD', form: 'perMillionTokens', perMillionTokens: { input: '3' } },
    { amount: null, currency: 'EUR', form: 'amount' },
    null,
  ])
})
