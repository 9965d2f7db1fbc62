/**
 * Are the extracted fields possible at all? Reading engines lose decimal points (`8.4` becomes `84`, `0.6 - 1.1` becomes
 * `06-11`), with high confidence. Pure; no clock, so that the same fields are judged the same at any time.
 *
 * 1. A rule speaks only where it is sure: what it does not know is plausible.
 * 2. A finding names the field, the place on the page and the rule, never what stands there.
 */
import type { ExtractOutput, Field, LabValue, Medication } from '../extract/extract-output.js'
import type { Box } from '../ocr/read-output.js'
import { limitsOf } from './lab-limits.js'

/** Each with what it says. */
export const RULES = {
  'lab-limits': 'outside what a living person can have in that unit',
  'lab-lost-point': 'a decimal point seems lost, by the reference range beside it',
  'lab-range': 'the reference range is none',
  'dose-limits': 'no single dose in that unit',
  'date-order': 'the birth is after the referral',
  'date-age': 'nobody is that old',
} as const
export type RuleName = keyof typeof RULES
export type Finding = {
  field: Field['name']
  /** Of the fields of its name, from 1. */
  nth: number
  rule: RuleName
  page: number
  box: Box
}

const number = (text: string): number => Number(text.replace(',', '.').replace(/^[<>≤≥]\s?/, ''))
const hasPoint = (text: string): boolean => /\d[.,]\d/.test(text)

const rangeOf = (range: string): { low: string; high: string } | null => {
  const [, low, high] = /^(\d+(?:[.,]\d+)?)\s?[-–—]\s?(\d+(?:[.,]\d+)?)$/.exec(range) ?? []
  return low !== undefined && high !== undefined ? { low, high } : null
}

/** A number that begins with 0 and has no point had one. */
const lostItsPoint = (bound: string): boolean => /^0\d/.test(bound)

/** A tenth (or ten times) of it would be ordinary by its range, and it is far from that. */
const pointLost = (value: string, { low, high }: { low: string; high: string }): boolean => {
  const [is, from, to] = [number(value), number(low), number(high)]
  const ordinary = (one: number) => one >= from / 2 && one <= to * 2
  if (!hasPoint(value) && hasPoint(`${low} ${high}`)) return is > to * 4 && ordinary(is / 10)
  return hasPoint(value) && !hasPoint(`${low} ${high}`) && is < from / 4 && ordinary(is * 10)
}

const ofLab = ({ name, value, unit, referenceRange }: LabValue): RuleName | null => {
  const limits = limitsOf(name, unit)
  const is = number(value)
  if (limits && (is < limits[0] || is > limits[1])) return 'lab-limits'
  const range = rangeOf(referenceRange ?? '')
  if (!range) return null
  if (lostItsPoint(range.low) || lostItsPoint(range.high) || number(range.low) >= number(range.high)) return 'lab-range'
  return pointLost(value, range) ? 'lab-lost-point' : null
}

const DOSES_MAX: { readonly [unit: string]: number } = {
  mg: 6_000,
  mcg: 10_000,
  g: 60,
  ml: 2_000,
  iu: 300_000,
  units: 50_000,
  '%': 100,
  tablet: 20,
  tablets: 20,
  puff: 20,
  puffs: 20,
}

const ofMedication = ({ dose, unit }: Medication): RuleName | null => {
  const most = DOSES_MAX[unit.toLowerCase()]
  const is = number(dose)
  // A dose of two numbers ("875/125") is none to compare.
  if (most === undefined || Number.isNaN(is)) return null
  return is <= 0 || is > most ? 'dose-limits' : null
}

const YEAR_MS = 365.25 * 24 * 3_600_000
const AGE_MAX = 125

const ofBirth = (born: string, referred: string | undefined): RuleName | null => {
  if (referred === undefined) return null
  const ageMs = Date.parse(referred) - Date.parse(born)
  if (ageMs < 0) return 'date-order'
  return ageMs > AGE_MAX * YEAR_MS ? 'date-age' : null
}

export const checkPlausible = ({ fields }: ExtractOutput): Finding[] => {
  const referred = fields.find((field) => field.name === 'referralDate')?.value as string | undefined
  const ruleOf = (field: Field): RuleName | null => {
    if (field.name === 'labValue') return ofLab(field.value)
    if (field.name === 'medication') return ofMedication(field.value)
    return field.name === 'dateOfBirth' ? ofBirth(field.value, referred) : null
  }
  const seen = new Map<string, number>()
  return fields.flatMap((field) => {
    const { name, page, box } = field
    const nth = (seen.get(name) ?? 0) + 1
    seen.set(name, nth)
    const rule = ruleOf(field)
    return rule === null ? [] : [{ field: name, nth, rule, page, box }]
  })
}
