/**
 * Places in an answer, and paths on the provider's own origin.
 *
 * - O1 A path that leads to another origin is null, whoever wrote it (a config, a handle, an Operation-Location): the
 *   request would carry our credentials there.
 * - O2 Reading never throws: what can't be found, or whose function throws, is undefined.
 */
import type { Answer, PathOf, Place } from './http-options.js'

export function readPlace(place: Place | undefined, answer: Answer): unknown {
  if (place === undefined) return undefined
  if (typeof place === 'string') return readPointer(place, answer.json)
  if (typeof place === 'object') return answer.headers[place.header.toLowerCase()]
  try {
    return place(answer)
  } catch {
    return undefined
  }
}

/** JSON pointer (RFC 6901). Own members only: nothing of a prototype is an answer. */
export function readPointer(pointer: string, json: unknown): unknown {
  let at = json
  for (const escaped of pointer.split('/').slice(1)) {
    const name = escaped.replaceAll('~1', '/').replaceAll('~0', '~')
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined
    at = (at as { [name: string]: unknown })[name]
  }
  return at
}

/** For a config's functions: what stands at a JSON pointer, or undefined. `at(json, '/usage/pages')`. */
export const at = (json: unknown, pointer: `/${string}`): unknown => readPointer(pointer, json)

const WORD = /^[A-Za-z][A-Za-z0-9_.-]{0,59}$/

/** A failure's code as an error holds it: one word in lower case. Null for a sentence, which may quote content. */
export function codeWord(value: unknown): string | null {
  if (typeof value !== 'string' || !WORD.test(value)) return null
  return value.toLowerCase().replaceAll(/[_.]/g, '-')
}

const PATH_LENGTH_MAX = 4096

/** Path and query on the origin of `base`. Null: elsewhere, or no URL (O1). */
export function ownPath(base: URL, given: unknown): string | null {
  if (typeof given !== 'string' || given === '' || given.length > PATH_LENGTH_MAX || !URL.canParse(given, base.href))
    return null
  const url = new URL(given, base)
  if (url.origin !== base.origin || url.username !== '' || url.password !== '') return null
  return url.pathname + url.search
}

/** The path for one job or key. `of` undefined: the value is the path or URL itself. */
export function pathFor(base: URL, of: PathOf | undefined, name: 'handle' | 'requestKey', value: string) {
  try {
    if (of === undefined) return ownPath(base, value)
    return ownPath(base, typeof of === 'string' ? of.replaceAll(`{${name}}`, segment(value)) : of(value))
  } catch {
    return null
  }
}

/** One segment: a value such as ".." or "a/b" names nothing else on the origin. */
const segment = (value: string): string => (/^\.{1,2}$/.test(value) ? '' : encodeURIComponent(value))
