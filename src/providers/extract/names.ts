/** People's names, as written on forms and in letters -> "Given Family", without titles and degrees. */
import { labelsIn } from './labels.js'
import type { Token } from './layout.js'

const TITLE = /^(mr|mrs|ms|miss|mx|dr|prof|professor|doctor|sir|herr|frau|patient)\.?,?$/i
const DEGREE =
  /^\(?(md|m\.d|do|d\.o|phd|mbbs|frcp|mrcp|mrcgp|frcs|np|pa|pa-c|rn|bsc|facp|jr|sr|ii|iii|gp|mbchb|facc|fnp|dnp)\.?\)?[,.;]?$/i
const PARTICLE = /^(van|von|de|der|den|del|della|di|da|la|le|bin|al|el|du|dos|ter|mac|ibn)$/i
/** A capital, then letters; also O'Brien, Anne-Marie, J., McKay. */
const PART = /^\p{Lu}[\p{L}'’-]*\.?$/u
const NOT_A_NAME =
  /^(department|clinic|hospital|medical|practice|centre|center|team|service|unit|date|referral|urgent|routine|street|road|lane|male|female|the|re|dear|page|form|tel|phone|fax|health|group|associates|diagnosis|patient|information|details|general|family|practitioner|physician|doctor|male\/female|yes|no|not|none|unknown|years|year|old|january|february|march|april|june|july|august|september|october|november|december|cardiology|neurology|mrn|dob|id|born|aged|age|sex|gender|address|signature|consultant|surgeon|nurse|clinical|care|primary|internal|medicine|surgery)$/i

export type Name = { value: string; tokens: Token[] }

/** The name at the start of a run of words; null when there's none. Two parts at least, five at most. */
export function nameAtStart(all: readonly Token[]): Name | null {
  const tokens = [...all]
  while (tokens.length > 0 && (TITLE.test(tokens[0]!.text) || /^[^\p{L}]+$/u.test(tokens[0]!.text))) tokens.shift()
  const parts: Token[] = []
  let commaAfter = -1
  for (const token of tokens) {
    const bare = token.text.replace(/[,;:.)]+$/, (end) => (end.startsWith('.') && token.text.length <= 3 ? '.' : ''))
    const isPart = PARTICLE.test(bare) || (PART.test(bare) && !NOT_A_NAME.test(bare) && !DEGREE.test(token.text))
    if (!isPart || parts.length === 5) {
      if (TITLE.test(token.text) && commaAfter >= 0) continue
      break
    }
    // "Bergmann, MRN": after a comma a new thing may begin; labels tell.
    if (commaAfter >= 0 && labelsIn([token]).length > 0) break
    parts.push(token)
    if (/[,;]$/.test(token.text)) {
      // "HOLLOWAY, Margaret" goes on after its comma; "Thomas Bergmann, born" does not.
      if (commaAfter >= 0 || parts.filter((part) => !PARTICLE.test(part.text)).length > 1) break
      commaAfter = parts.length
    } else if (/[:)]$/.test(token.text)) break
  }
  const swapped = commaAfter > 0 && commaAfter < parts.length
  const words = swapped ? [...parts.slice(commaAfter), ...parts.slice(0, commaAfter)] : parts
  if (words.filter((part) => /\p{L}{2}/u.test(part.text)).length < 2) return null
  return {
    value: words.map(({ text }) => capitalise(text.replace(/[,;:)]+$/, '').replace(/(?<=\p{L}{3})\.$/u, ''))).join(' '),
    tokens: parts,
  }
}

/** One part alone, for forms with a box for each. */
export function partAtStart(tokens: readonly Token[]): Name | null {
  const parts = []
  for (const token of tokens) {
    if (!(PART.test(token.text) || PARTICLE.test(token.text)) || parts.length === 3) break
    parts.push(token)
  }
  return parts.length === 0 ? null : { value: parts.map(({ text }) => capitalise(text)).join(' '), tokens: parts }
}

/** OKAFOR -> Okafor, O'BRIEN -> O'Brien; mixed case stays as it is. */
const capitalise = (word: string): string =>
  /^[\p{Lu}'’-]{2,}$/u.test(word)
    ? word.toLowerCase().replace(/(^|['’-])\p{L}/gu, (start) => start.toUpperCase())
    : word

export const hasTitle = (tokens: readonly Token[]): boolean =>
  tokens.some(({ text }) => /^(dr|doctor|prof|professor)\.?$/i.test(text) || DEGREE.test(text))
