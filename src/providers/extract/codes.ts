/**
 * ICD-10 codes. Where the page says that a code stands, letters and digits that look alike are put right (an I is
 * often read as a 1); elsewhere only what is a code beyond doubt is taken.
 */
import type { Strip } from './layout.js'

export type FoundCode = { value: string; from: number; to: number; mended: boolean }

/** Category, then up to four characters of detail (ICD-10-CM, section I.A). U codes are for special purposes. */
const CODE = /^[A-Z]\d[0-9AB](?:\.[0-9A-Z]{1,4})?$/
const ANYWHERE = /(?<![\w.-])[A-TV-Z]\d[0-9AB]\.[0-9][0-9A-Z]{0,3}(?![\w-])/g
/** A whole bracket of codes, with or without dots: "(M17.12, I10)". */
const IN_BRACKETS =
  /[([](?:ICD[- ]?10(?:[- ]CM)?:?\s*)?((?:[A-TV-Z]\d[0-9AB](?:\.[0-9A-Z]{1,4})?(?:\s*[,;/&]\s*|\s+and\s+)?)+)[)\]]/g
/** Anything that might be one: three characters, then perhaps a dot and more. */
const WHERE_EXPECTED = /(?<![\w.])[A-Za-z0-9|][0-9OolISZB]{2}(?:[.,·]\s?[0-9A-Za-z]{1,4}|[0-9]{1,4})?(?![\w])/g

const FIRST: { [read: string]: string } = {
  '1': 'I',
  '|': 'I',
  l: 'I',
  '0': 'O',
  '5': 'S',
  '8': 'B',
  '2': 'Z',
  '6': 'G',
  '4': 'A',
  '7': 'T',
}
const DIGIT: { [read: string]: string } = { O: '0', o: '0', l: '1', I: '1', S: '5', Z: '2', B: '8' }

/** `expected`: the text is the value of a label such as "ICD-10". */
export function codesIn({ text }: Strip, expected: boolean): FoundCode[] {
  if (expected) return codesExpected(text)
  const found: FoundCode[] = []
  for (const match of text.matchAll(ANYWHERE)) {
    found.push({ value: match[0], from: match.index, to: match.index + match[0].length, mended: false })
  }
  for (const match of text.matchAll(IN_BRACKETS)) {
    const inside = match.index + match[0].indexOf(match[1]!)
    for (const code of match[1]!.matchAll(/[A-TV-Z]\d[0-9AB](?:\.[0-9A-Z]{1,4})?/g)) {
      const from = inside + code.index
      if (found.some((other) => other.from === from)) continue
      found.push({ value: code[0], from, to: from + code[0].length, mended: false })
    }
  }
  return found.sort((a, b) => a.from - b.from)
}

function codesExpected(text: string): FoundCode[] {
  const found: FoundCode[] = []
  for (const match of text.matchAll(WHERE_EXPECTED)) {
    const read = match[0].replace(/[,·]\s?/, '.').replace(/\.\s/, '.')
    const value = mend(read)
    if (value === null) continue
    found.push({ value, from: match.index, to: match.index + match[0].length, mended: value !== read })
  }
  return found
}

function mend(read: string): string | null {
  const first = FIRST[read[0]!] ?? read[0]!.toUpperCase()
  const digits = read.slice(1, 3).replace(/./g, (letter) => DIGIT[letter] ?? letter)
  const rest = read.slice(3).replace('.', '').toUpperCase()
  const detail = Array.from(rest, (letter, i) => (i === 0 ? (DIGIT[letter] ?? letter) : letter)).join('')
  const value = first + digits + (detail === '' ? '' : `.${detail}`)
  return CODE.test(value) ? value : null
}
