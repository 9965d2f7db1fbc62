/** Agreement as a function: against a definition that is written down another way, over answers of all kinds. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { differingPaths, largestAgreement, PATHS_MAX, VOTERS_MAX, type Vote } from '../../src/machines/vote.js'

/** A relation as a table, so that it may be lopsided and intransitive, as an author's may be. */
const relation = (size: number) =>
  fc.array(fc.array(fc.boolean(), { minLength: size, maxLength: size }), { minLength: size, maxLength: size })
const votesOf = (size: number): Vote<number>[] =>
  Array.from({ length: size }, (_, at) => ({ voter: `v${at}`, answer: at }))
const cases = fc.integer({ min: 0, max: 6 }).chain((size) => fc.tuple(fc.constant(size), relation(size)))

/** All sets, grown one by one: the other way to the same. */
const mutualSets = (size: number, agree: (a: number, b: number) => boolean): number[][] => {
  const grow = (set: number[], from: number): number[][] => [
    set,
    ...Array.from({ length: size - from }, (_, at) => from + at)
      .filter((next) => set.every((one) => agree(one, next) && agree(next, one)))
      .flatMap((next) => grow([...set, next], next + 1)),
  ]
  return grow([], 0)
}

describe('the largest agreement', () => {
  it('is mutual, the largest there is, and of those the first by voters', () => {
    fc.assert(
      fc.property(cases, ([size, table]) => {
        const agree = (a: number, b: number) => table[a]![b]!
        const found = largestAgreement(votesOf(size), agree).map(({ answer }) => answer)
        const sets = mutualSets(size, agree)
        const most = Math.max(...sets.map(({ length }) => length))
        const best = sets.filter(({ length }) => length === most).sort((a, b) => (a.join() < b.join() ? -1 : 1))
        expect(found).toEqual(best[0])
      }),
    )
  })

  it('has the same size in whatever order the voters are named', () => {
    fc.assert(
      fc.property(cases, fc.array(fc.nat(), { minLength: 6, maxLength: 6 }), ([size, table], chance) => {
        const agree = (a: number, b: number) => table[a]![b]!
        const shuffled = votesOf(size)
          .map((vote, at) => ({ vote, at: chance[at]! }))
          .sort((a, b) => a.at - b.at)
          .map(({ vote }) => vote)
        expect(largestAgreement(shuffled, agree)).toHaveLength(largestAgreement(votesOf(size), agree).length)
      }),
    )
  })

  it('of one vote is that vote, of none is none; of too many it is refused', () => {
    expect(largestAgreement(votesOf(1), () => false)).toHaveLength(1)
    expect(largestAgreement([], () => true)).toEqual([])
    expect(() => largestAgreement(votesOf(VOTERS_MAX + 1), () => true)).toThrow('up to 8 answers, not 9')
  })
})

describe('where answers differ', () => {
  it.each([
    ['nowhere', [{ a: [1, { b: null }] }, { a: [1, { b: null }] }], []],
    ['deep inside', [{ a: [1, { b: 2 }] }, { a: [1, { b: 3 }] }], [['a', 1, 'b']]],
    ['by a key that one lacks', [{ a: 1 }, { a: 1, b: 2 }], [['b']]],
    ['by the length of a list, as a whole', [{ a: [1] }, { a: [2, 1] }], [['a']]],
    ['altogether', [1, { a: 1 }], [[]]],
    ['in one of three', [{ a: 1 }, { a: 1 }, { a: 2 }], [['a']]],
  ])('%s', (_, values, paths) => {
    expect(differingPaths(values)).toEqual(paths)
  })

  it('says nothing about equal JSON and something, bounded, about all other', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 3 }), fc.jsonValue({ maxDepth: 3 }), (a, b) => {
        expect(differingPaths([a, JSON.parse(JSON.stringify(a))])).toEqual([])
        const paths = differingPaths([a, b])
        expect(paths.length).toBeLessThanOrEqual(PATHS_MAX)
        if (paths.length === 0) expect(canonical(a)).toBe(canonical(b))
      }),
    )
  })
})

/** JSON text with sorted keys. */
const canonical = (value: unknown): string =>
  JSON.stringify(value, (_, inner: unknown) =>
    inner !== null && typeof inner === 'object' && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  )
