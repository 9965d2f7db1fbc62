/**
 * Fields that were found, held against what the paper says.
 *
 * Right: dates, numbers and codes exactly; names and phrases with at most one letter in ten wrong (capitals and
 * spaces aside); a medication by drug, dose and unit; a lab value by analyte and number. Exact: every part, to the letter.
 */
import {
  FIELD_NAMES,
  type Field,
  type FieldName,
  type LabValue,
  type Medication,
} from '../../src/providers/extract/extract-output.js'
import { iso, type Case } from './case.js'

export type Tally = { wanted: number; found: number; right: number; exact: number }
export type Score = { [name in FieldName]: Tally }
/** For what was found: how sure it was, and whether it was right. */
export type Judged = { name: FieldName; confidence: number; right: boolean }

export const emptyScore = (): Score =>
  Object.fromEntries(FIELD_NAMES.map((name) => [name, { wanted: 0, found: 0, right: 0, exact: 0 }])) as Score

type Value = Field['value']

export function truthOf(facts: Case): { [name in FieldName]: Value[] } {
  return {
    patientName: [`${facts.given} ${facts.family}`],
    dateOfBirth: [iso(facts.born)],
    patientId: [facts.id],
    phone: [(facts.phone.startsWith('+') ? '+' : '') + facts.phone.replace(/\D/g, '')],
    referringPhysician: [facts.doctor],
    referralDate: [iso(facts.referred)],
    department: [facts.department],
    urgency: [facts.urgency[0]],
    reason: [facts.reason],
    diagnosis: [facts.diagnosis],
    icd10: facts.codes,
    medication: facts.drugs.map(({ drug, dose, unit, every }) => ({ drug, dose, unit, frequency: every[1] })),
    labValue: facts.labs.map(({ name, value, unit, range }) => ({ name, value, unit, referenceRange: range })),
  }
}

export function judge(fields: readonly Field[], facts: Case, score: Score): { judged: Judged[]; misses: string[] } {
  const judged: Judged[] = []
  const misses: string[] = []
  for (const [name, wanted] of Object.entries(truthOf(facts)) as [FieldName, Value[]][]) {
    const found = fields.filter((field) => field.name === name)
    const left = [...wanted]
    const tally = score[name]
    tally.wanted += wanted.length
    tally.found += found.length
    for (const field of found) {
      const at = left.findIndex((value) => isRight(name, value, field.value))
      judged.push({ name, confidence: field.confidence, right: at >= 0 })
      if (at < 0) {
        misses.push(`${name}: invented ${JSON.stringify(field.value)}`)
        continue
      }
      tally.right++
      const [value] = left.splice(at, 1)
      if (isExact(value!, field.value)) tally.exact++
      else misses.push(`${name}: ${JSON.stringify(value)} read as ${JSON.stringify(field.value)}`)
    }
    for (const value of left) misses.push(`${name}: missing ${JSON.stringify(value)}`)
  }
  return { judged, misses }
}

const plain = (text: string): string => text.toLowerCase().replace(/[^\p{L}\p{N}]/gu, '')

function isRight(name: FieldName, wanted: Value, found: Value): boolean {
  if (typeof wanted === 'string' || typeof found === 'string') {
    if (typeof wanted !== 'string' || typeof found !== 'string') return false
    const isPhrase =
      name === 'patientName' || name === 'referringPhysician' || name === 'reason' || name === 'diagnosis'
    return isPhrase ? isSimilar(wanted, found) : wanted === found
  }
  if ('drug' in wanted && 'drug' in found) {
    return isSimilar(wanted.drug, found.drug) && wanted.dose === found.dose && wanted.unit === found.unit
  }
  return 'value' in wanted && 'value' in found && isSimilar(wanted.name, found.name) && wanted.value === found.value
}

const isExact = (wanted: Value, found: Value): boolean => {
  const text = (value: Value): string[] =>
    typeof value === 'string' ? [value] : Object.values(value as Medication | LabValue).map((part) => part ?? '')
  // Inside a sentence a phrase loses its capital; that is no mistake.
  const same = (a: string, b: string): boolean => a === b || a.toLowerCase() === b.toLowerCase()
  return text(wanted).every((part, i) => same(part, text(found)[i] ?? ''))
}

/** At most one letter in ten wrong. */
function isSimilar(a: string, b: string): boolean {
  const [left, right] = [plain(a), plain(b)]
  let row = Array.from({ length: right.length + 1 }, (_, i) => i)
  for (let i = 1; i <= left.length; i++) {
    const next = [i]
    for (let j = 1; j <= right.length; j++) {
      next.push(Math.min(row[j - 1]! + (left[i - 1] === right[j - 1] ? 0 : 1), row[j]! + 1, next[j - 1]! + 1))
    }
    row = next
  }
  return row[right.length]! <= Math.floor(left.length / 10)
}
