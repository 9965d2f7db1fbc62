/** What a customer owes for an output, in every form of price (Y1, Y3). */
import { describe, expect, test } from 'vitest'
import type { Price } from '../../src/machines/pipeline.js'
import type { Usage } from '../../src/machines/record.js'
import { decideCharge } from '../../src/providers/call-money.js'

const decide = (price: object, usage: Usage = {}, output: unknown = {}) =>
  decideCharge({ currency: 'EUR', ...price } as Price, { output, usage })

describe('an amount is exact', () => {
  test.each<[string, object, Usage, string]>([
    ['fixed', { fixed: '0.40' }, {}, '0.40'],
    ['per page', { perPage: '0.015' }, { pages: 3 }, '0.045'],
    ['per million tokens in', { perMillionTokens: { input: '2.50' } }, { inputTokens: 1_234 }, '0.003085'],
    [
      'per million tokens, both ways, to the last token',
      { perMillionTokens: { input: '0.100001', output: '0.3' } },
      { inputTokens: 1, outputTokens: 3 },
      '0.000001000001',
    ],
    ['a function of usage', { amount: ({ usage }: { usage: Usage }) => `${usage.pages}.10` }, { pages: 2 }, '2.10'],
  ])('%s', (_form, price, usage, amount) =>
    expect(decide(price, usage)).toEqual({ charge: { amount, currency: 'EUR' }, trouble: null }),
  )

  test('a function sees the output that passed the schema', () =>
    expect(
      decide({ amount: ({ output }: { output: { lines: number } }) => `0.${output.lines}` }, {}, { lines: 7 }).charge,
    ).toEqual({ amount: '0.7', currency: 'EUR' }))

  test.each<[string, object, Usage]>([
    ['fixed', { fixed: '0.00' }, {}],
    ['for no page', { perPage: '1' }, { pages: 0 }],
    ['for no token', { perMillionTokens: { input: '1', output: '1' } }, { inputTokens: 0, outputTokens: 0 }],
    ['by a function', { amount: () => '0' }, {}],
    ['because of the output', { perPage: '1', unless: () => true }, {}],
  ])('zero is no charge: %s', (_form, price, usage) =>
    expect(decide(price, usage)).toEqual({ charge: null, trouble: null }),
  )
})

describe('Y1: doubt about an amount is no charge, and is said', () => {
  test.each<[string, object, Usage, string]>([
    ['pages that were not told', { perPage: '1' }, {}, 'needs usage.pages, which was not told'],
    ['a part of a page', { perPage: '1' }, { pages: 1.5 }, 'was told a usage.pages that is no count'],
    [
      'half of the tokens',
      { perMillionTokens: { input: '1', output: '1' } },
      { inputTokens: 5 },
      'needs usage.outputTokens, which was not told',
    ],
    ['a function that throws', { amount: () => [].at(0)!['x'] }, {}, 'threw'],
    ['a float', { amount: () => 0.1 + 0.2 }, {}, 'answered number that is no amount'],
    ['a text that is no amount', { amount: () => '1,50' }, {}, 'answered string that is no amount'],
    ['a promise', { amount: async () => '1' }, {}, 'answered object that is no amount'],
    ['a negative amount', { amount: () => '-1' }, {}, 'answered string that is no amount'],
    ['more than any bill', { perPage: '999999999999' }, { pages: 1e9 }, 'names no valid amount'],
    ['a price that is no decimal', { perPage: '1,5' }, { pages: 1 }, 'names no valid amount'],
  ])('%s', (_what, price, usage, trouble) => expect(decide(price, usage)).toEqual({ charge: null, trouble }))
})
