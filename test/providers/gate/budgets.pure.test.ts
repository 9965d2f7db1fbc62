/** Ceilings on what providers may cost, by several workers on one deployment's state. */
import { describe, expect, it } from 'vitest'
import type { Attempt } from '../../../src/machines/record.js'
import type { CounterKey, SpendRow } from '../../../src/persistence/contract.js'
import { createMemoryProviderStates } from '../../../src/persistence/memory-provider-states.js'
import type { Budget, Gate } from '../../../src/providers/gate.js'
import { ceilingsOf, DAY_MS, RESERVED_WAIT_MS, spentByRecord } from '../../../src/providers/gate/budgets.js'
import { sumsFor } from '../../../src/providers/gate/recount.js'
import { createGates, docOf, paidTerms } from './gates.js'

const DAY = new Date(Date.UTC(2026, 0, 1))
const budget = (per: Budget['per'], limit: string, changes: Partial<Budget> = {}): Budget => ({
  per,
  name: null,
  limit,
  currency: 'EUR',
  atLimit: 'wait',
  ...changes,
})
const attempt = (changes: Partial<Attempt>): Attempt =>
  ({ provider: 'gpt', outcome: 'failed', spend: null, ...changes }) as Attempt
const stepOf = (attempts: Attempt[]) => ({ read: { attempts, result: null, discarded: [], candidate: null } })

const ask = (gate: Gate, record = 'r1', changes: { amount?: string; source?: string; provider?: string } = {}) =>
  gate.reserve({
    doc: docOf(record, {}, changes.source),
    provider: changes.provider ?? 'gpt',
    step: 'read',
    attempt: 1,
    spendMax: { amount: changes.amount ?? '0.50', currency: 'EUR' },
  })
const call = (record = 'r1') => ({ record, step: 'read', attempt: 1, provider: 'gpt' })

describe('the ceilings of a call', () => {
  it('are the lowest of each kind that speaks of it, in one order', () => {
    const budgets = [
      budget('source', '9', { name: 'north' }),
      budget('provider', '5'),
      budget('provider', '2', { name: 'gpt', atLimit: 'investigate' }),
      budget('provider', '1', { name: 'claude' }),
      budget('deployment', '20'),
      budget('record', '0.1'),
    ]
    const of = { source: 'north', provider: 'gpt', day: DAY }
    expect(ceilingsOf(budgets, of).map(({ key, limit, atLimit }) => [key.per, key.name, limit, atLimit])).toEqual([
      ['deployment', '', '20', 'wait'],
      ['provider', 'gpt', '2', 'investigate'],
      ['source', 'north', '9', 'wait'],
    ])
    expect(ceilingsOf(budgets, { ...of, source: 'south', provider: 'claude' }).map(({ limit }) => limit)).toEqual([
      '20',
      '1',
    ])
  })
})

describe("a record's own ceiling", () => {
  const terms = { gpt: paidTerms('gpt', '0.30') }

  it('counts what attempts cost, and what open ones may cost', () => {
    const attempts = [
      attempt({ spend: { amount: '0.05', currency: 'EUR', basis: 'reported' } }),
      attempt({ outcome: null, spendMax: { amount: '0.20', currency: 'EUR' } }),
      attempt({ outcome: null }),
      attempt({ spend: { amount: '9', currency: 'USD', basis: 'reported' } }),
    ]
    expect(spentByRecord({ steps: stepOf(attempts) }, 'EUR', terms)).toBe('0.55')
  })

  it('is kept from the document alone, and no waiting helps', async () => {
    const world = createGates(1, { budgets: [budget('record', '1', { atLimit: 'investigate' })] })
    world.states.reserve = () => Promise.reject(new Error('nobody asks'))
    const spent = (amount: string) =>
      docOf('r1', stepOf([attempt({ spend: { amount, currency: 'EUR', basis: 'reported' } })]))
    const asked = { provider: 'gpt', step: 'read', attempt: 2, spendMax: { amount: '0.50', currency: 'EUR' } }
    expect(await world.gates[0]!.reserve({ ...asked, doc: spent('0.50') })).toBeNull()
    const hold = await world.gates[0]!.reserve({ ...asked, doc: spent('0.51') })
    expect(hold).toMatchObject({ code: 'budget-reached' })
    expect(hold!.until.getTime()).toBeLessThan(world.clock.now().getTime())
    await world.close()
  })
})

describe('ceilings of a day', () => {
  it('many that ask at once never get more than there is, from all workers together', async () => {
    const world = createGates(3, { budgets: [budget('provider', '5.00')] })
    const holds = await Promise.all(Array.from({ length: 60 }, (_, n) => ask(world.gates[n % 3]!, `r${n}`)))
    expect(holds.filter((hold) => hold === null)).toHaveLength(10)
    await world.close()
  })

  it('what a call did not cost is free again, and nothing else', async () => {
    const world = createGates(2, { budgets: [budget('deployment', '1')] })
    const [one, two] = world.gates
    expect(await ask(one!, 'a')).toBeNull()
    expect(await ask(one!, 'b')).toBeNull()
    expect(await ask(two!, 'c')).toMatchObject({ code: 'budget-reached' })
    one!.settle(call('a'), { amount: '0.10', currency: 'EUR', basis: 'reported' })
    one!.settle(call('a'), null)
    await world.clock.passes(1_000)
    expect(await ask(two!, 'c', { amount: '0.40' })).toBeNull()
    expect(await ask(two!, 'd', { amount: '0.01' })).not.toBeNull()
    one!.settle(call('b'), null)
    await world.clock.passes(1_000)
    expect(await ask(two!, 'd', { amount: '0.50' })).toBeNull()
    await world.close()
  })

  it('a ceiling that only reservations fill is a short wait', async () => {
    const world = createGates(1, { budgets: [budget('provider', '1')] })
    await ask(world.gates[0]!, 'a', { amount: '1' })
    const hold = await ask(world.gates[0]!, 'b')
    expect(hold!.until.getTime() - world.clock.now().getTime()).toBe(RESERVED_WAIT_MS)
    await world.close()
  })

  const key: CounterKey = { per: 'provider', name: 'gpt', currency: 'EUR', day: DAY }
  it.each([
    ['wait', (now: Date) => Math.ceil(now.getTime() / DAY_MS) * DAY_MS],
    ['investigate', () => 0],
  ] as const)('one that the records fill: %s', async (atLimit, until) => {
    const world = createGates(1, { budgets: [budget('provider', '1', { atLimit })] })
    const now = world.clock.now()
    const day = new Date(Math.floor(now.getTime() / DAY_MS) * DAY_MS)
    await world.states.recount({ ...key, day }, { spent: '0.80', open: '0' }, 0)
    const hold = await ask(world.gates[0]!)
    expect(hold).toMatchObject({
      code: 'budget-reached',
      message: 'Another call would pass the budget of 1 EUR a day per provider "gpt".',
    })
    expect(hold!.until.getTime()).toBe(until(now))
    await world.close()
  })

  it('the next day begins anew', async () => {
    const world = createGates(1, { budgets: [budget('source', '0.50')] })
    expect(await ask(world.gates[0]!, 'a')).toBeNull()
    expect(await ask(world.gates[0]!, 'b')).not.toBeNull()
    expect(await ask(world.gates[0]!, 'b', { source: 'south' })).toBeNull()
    await world.clock.passes(DAY_MS)
    expect(await ask(world.gates[0]!, 'c')).toBeNull()
    await world.close()
  })

  it('what the second ceiling refuses is given back to the first (U1)', async () => {
    const world = createGates(1, { budgets: [budget('deployment', '1'), budget('source', '0.60')] })
    const gate = world.gates[0]!
    expect(await ask(gate, 'a')).toBeNull()
    expect(await ask(gate, 'b')).not.toBeNull()
    await world.clock.passes(1_000)
    expect(await ask(gate, 'c', { source: 'south' })).toBeNull()
    await world.close()
  })

  it('a call of which nobody knows the cost, or in another currency, does not start', async () => {
    const world = createGates(1, { budgets: [budget('provider', '5', { currency: 'USD' })] })
    expect(await ask(world.gates[0]!)).toMatchObject({ code: 'budget-reached', until: new Date(0) })
    await world.close()
  })

  it('storage that is away means: not now', async () => {
    const world = createGates(1, { budgets: [budget('provider', '5')] })
    world.states.reserve = () => Promise.reject(new Error('away'))
    const hold = await ask(world.gates[0]!)
    expect(hold!.until.getTime() - world.clock.now().getTime()).toBe(1_000)
    await world.close()
  })

  it('without budgets nothing is asked', async () => {
    const world = createGates(1)
    world.states.reserve = () => Promise.reject(new Error('nobody asks'))
    world.states.spendRows = () => Promise.reject(new Error('nobody asks'))
    expect(await ask(world.gates[0]!)).toBeNull()
    await world.clock.passes(120_000)
    expect(world.warnings).toEqual([])
    await world.close()
  })
})

describe('the recount', () => {
  const row = (changes: Partial<SpendRow>): SpendRow => ({
    provider: 'gpt',
    source: 'north',
    currency: 'EUR',
    spent: '0',
    open: '0',
    openUnbounded: 0,
    possibleDuplicate: '0',
    ...changes,
  })

  it('adds up what belongs to a counter, open calls by what they may cost', () => {
    const rows = [
      row({ spent: '1.5', open: '0.2' }),
      row({ source: 'south', spent: '2', currency: 'EUR' }),
      row({ provider: 'claude', spent: '4' }),
      row({ spent: '8', currency: 'USD' }),
      row({ currency: null, openUnbounded: 3 }),
    ]
    const terms = { gpt: paidTerms('gpt', '0.10') }
    expect(sumsFor(rows, { per: 'provider', name: 'gpt', currency: 'EUR' }, terms)).toEqual({
      spent: '3.5',
      open: '0.50',
    })
    expect(sumsFor(rows, { per: 'source', name: 'south', currency: 'EUR' }, terms)).toEqual({ spent: '2', open: '0' })
    expect(sumsFor(rows, { per: 'deployment', name: '', currency: 'EUR' }, terms)).toEqual({
      spent: '7.5',
      open: '0.50',
    })
  })

  it('what a crash left reserved is free within minutes, and what records spent counts', async () => {
    let spent = '0'
    const world = createGates(2, {
      budgets: [budget('provider', '1')],
      states: (clock) => createMemoryProviderStates({ clock, spends: () => [row({ spent })] }),
    })
    await ask(world.gates[1]!, 'lost', { amount: '0.9' })
    expect(await ask(world.gates[0]!, 'a')).not.toBeNull()
    spent = '0.3'
    await world.clock.passes(4 * 60_000)
    expect(await ask(world.gates[0]!, 'a', { amount: '0.8' }), 'more than is left').not.toBeNull()
    expect(await ask(world.gates[0]!, 'a', { amount: '0.7' })).toBeNull()
    await world.close()
  })
})
