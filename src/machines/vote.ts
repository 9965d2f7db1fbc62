/**
 * How several answers become one, or don't. Pure: the provider `endstate-vote` asks here, and nothing else decides.
 *
 * V1 Answers agree only mutually: each with each, asked both ways, so that the order of the voters decides nothing.
 * V2 The largest such set counts; of equally large ones the one whose first voters come first. So a repeat of the vote
 *    over the same answers ends the same.
 * V3 What is said about a disagreement are places, never values: an answer is content.
 */
export type Vote<A> = { voter: string; answer: A }

/** More voters than this are refused by the builder: all sets of them are looked at. */
export const VOTERS_MAX = 8

type Agree<A> = (a: A, b: A) => boolean

const mutual = <A>(set: readonly Vote<A>[], agree: Agree<A>): boolean =>
  set.every((a, at) => set.slice(at + 1).every((b) => agree(a.answer, b.answer) && agree(b.answer, a.answer))) // V1

/** `bits` from the first voter's, so that a greater number means earlier voters (V2). */
const subset = <A>(votes: readonly Vote<A>[], bits: number): Vote<A>[] =>
  votes.filter((_, at) => (bits & (1 << (votes.length - 1 - at))) !== 0)

/** The largest set of mutually agreeing answers, in the voters' order; empty without votes. Throws what `agree` throws. */
export const largestAgreement = <A>(votes: readonly Vote<A>[], agree: Agree<A>): Vote<A>[] => {
  if (votes.length > VOTERS_MAX) throw new RangeError(`A vote takes up to ${VOTERS_MAX} answers, not ${votes.length}.`)
  let best: Vote<A>[] = []
  for (let bits = (1 << votes.length) - 1; bits > 0; bits -= 1) {
    const set = subset(votes, bits)
    if (set.length > best.length && mutual(set, agree)) best = set
  }
  return best
}

export const PATHS_MAX = 8
const DEPTH_MAX = 12

type Path = readonly (string | number)[]

const isPlain = (value: unknown): value is { [key: string]: unknown } =>
  value !== null && typeof value === 'object' && !Array.isArray(value)

const collect = (values: readonly unknown[], path: Path, found: Path[]): void => {
  if (found.length >= PATHS_MAX) return
  const inner = (key: string | number) => values.map((value) => (value as { [key: string | number]: unknown })[key])
  const deeper = path.length < DEPTH_MAX
  if (deeper && values.every(Array.isArray)) {
    const lengths = values.map((value) => (value as unknown[]).length)
    // Of lists of different lengths no entry is another's counterpart.
    if (lengths.some((length) => length !== lengths[0])) found.push(path)
    else for (let at = 0; at < lengths[0]!; at += 1) collect(inner(at), [...path, at], found)
  } else if (deeper && values.every(isPlain)) {
    const keys = new Set(values.flatMap((value) => Object.keys(value)))
    for (const key of [...keys].sort()) collect(inner(key), [...path, key], found)
  } else if (values.some((value) => JSON.stringify(value) !== JSON.stringify(values[0]))) found.push(path)
}

/** Where JSON values are not all the same: up to PATHS_MAX places, the empty path for the whole (V3). */
export const differingPaths = (values: readonly unknown[]): Path[] => {
  const found: Path[] = []
  collect(values, [], found)
  return found
}
