/** Budgets as a config writes them: what is wrong is named, with what to write. */
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { defineBudgets, type BudgetOptions } from '../../src/config/budgets.js'
import { endstate } from '../../src/config/builder.js'
import { compileConfig } from '../../src/config/pipelines.js'
import { factory } from '../types/providers.js'

const day = { per: 'provider', limit: '5.00', currency: 'EUR' } as const

describe('a budget', () => {
  it('is taken with its defaults', () => {
    expect(defineBudgets([day, { per: 'record', limit: '0.5', currency: 'USD' }])).toEqual([
      { per: 'provider', name: null, limit: '5.00', currency: 'EUR', atLimit: 'wait' },
      { per: 'record', name: null, limit: '0.5', currency: 'USD', atLimit: 'investigate' },
    ])
    // oxlint-disable-next-line unicorn/no-thenable -- the option's name
    expect(defineBudgets([{ ...day, name: 'gpt', window: 'day', then: 'investigate' }])).toEqual([
      { per: 'provider', name: 'gpt', limit: '5.00', currency: 'EUR', atLimit: 'investigate' },
    ])
  })

  it.each([
    [{ ...day, per: 'month' }, 'Budget 1 has per "month". Write one of: record, source, provider, deployment.'],
    [{ ...day, limit: 5 }, "Budget 1 has the limit 5. Write a decimal string such as '5.00'."],
    [{ ...day, limit: '-1' }, 'Budget 1 has the limit "-1". Write a decimal string such as \'5.00\'.'],
    [{ ...day, currency: 'euro' }, 'Budget 1 has the currency "euro". Write three capital letters such as \'EUR\'.'],
    [{ ...day, window: 'week' }, 'Budget 1 has the window "week". Write \'day\'.'],
    // oxlint-disable-next-line unicorn/no-thenable -- the option's name
    [{ ...day, then: 'stop' }, "Budget 1 has then \"stop\". Write 'wait' or 'investigate'."],
    [
      { ...day, per: 'deployment', name: 'x' },
      'Budget 1 names "x", but a budget per deployment has no name: leave it out.',
    ],
    [{ ...day, name: 'No Name' }, 'Budget 1 names "No Name"; names are of a-z, 0-9 and "-", 1 to 40 characters long.'],
    [{ ...day, per: 'record', window: 'day' }, 'Budget 1 is of each record, for its whole life: leave out "window".'],
    [
      // oxlint-disable-next-line unicorn/no-thenable -- the option's name
      { ...day, per: 'record', then: 'wait' },
      "Budget 1 is of each record, and no waiting helps one that has spent it: write then: 'investigate'.",
    ],
    [
      { ...day, limits: '3' },
      'Budget 1 has the option "limits", which there is not. Known: per, name, limit, currency, window, then.',
    ],
  ])('%j is refused', (options, message) => {
    expect(() => defineBudgets([options as BudgetOptions])).toThrow(message)
  })
})

describe('budgets at providers', () => {
  const EUR = { amount: '0.10', currency: 'EUR' }
  const refusal = (budgets: BudgetOptions[], spendMax: { amount: string; currency: string } | null) => {
    const es = endstate({
      providers: { gpt: factory({ cost: 'paid', spendMax }), idle: factory({ cost: 'paid' }), ocr: factory() },
    })
    const step = { deadline: '1s', output: z.string(), onUncertain: 'investigate' } as const
    const read = es
      .pipeline('read', { revision: 1, accepts: ['image/*'] })
      .step('see', { ...step, use: ['ocr'] })
      .step('ask', { ...step, use: ['gpt'] })
    try {
      compileConfig(es.config({ pipelines: [read], budgets }))
      return null
    } catch (error) {
      return (error as Error).message
    }
  }

  it('are kept where each call has a known bound; free and unused providers need none', () => {
    expect(refusal([day, { ...day, per: 'deployment' }, { ...day, per: 'record' }], EUR)).toBeNull()
    expect(refusal([{ ...day, name: 'ocr' }], null)).toBeNull()
    expect(refusal([], null)).toBeNull()
  })

  it('are refused where nobody knows what a call may cost', () => {
    for (const per of ['record', 'source', 'provider', 'deployment'] as const)
      expect(refusal([{ ...day, per }], null)).toBe(
        `The budget per ${per} can't be kept: nobody knows what one call to "gpt" may cost at most. ` +
          "Give that provider its spendMax: { amount: '…', currency: 'EUR' }, or cost: 'free'.",
      )
  })

  it('are refused in another currency, and for a provider that there is not', () => {
    expect(refusal([{ ...day, currency: 'USD' }], EUR)).toMatch(
      /^The budget per provider is in USD, but calls to "gpt" cost EUR\./,
    )
    expect(refusal([{ ...day, name: 'gtp' }], EUR)).toBe(
      'The budget per provider "gtp" names a provider that there is not. Known: gpt, idle, ocr.',
    )
  })
})
