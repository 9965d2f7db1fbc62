/**
 * Lab values: an analyte, a number, a unit and a range to compare with, in rows of a list or table and in sentences.
 * Outside a list of results the analyte must be a known one.
 */
import type { LabValue } from './extract-output.js'
import { isNear } from './labels.js'
import { strip, within, type Strip, type Token } from './layout.js'

export type FoundLab = { value: LabValue; tokens: Token[] }

const ANALYTES =
  'hbalc|hbaic|hemoglobin|haemoglobin|hgb|hb|hba1c|a1c|glycated hemoglobin|glucose|fasting glucose|blood glucose|random glucose|plasma glucose|fasting blood glucose|creatinine|serum creatinine|urea|bun|blood urea nitrogen|egfr|gfr|sodium|serum sodium|potassium|serum potassium|chloride|bicarbonate|calcium|corrected calcium|magnesium|phosphate|phosphorus|albumin|total protein|bilirubin|total bilirubin|direct bilirubin|alt|ast|alp|ggt|alkaline phosphatase|sgpt|sgot|ldh|amylase|lipase|cholesterol|total cholesterol|ldl|ldl cholesterol|ldl-c|hdl|hdl cholesterol|hdl-c|triglycerides|tsh|t3|t4|free t4|free t3|ft4|ft3|crp|c-reactive protein|esr|wbc|white cell count|white blood cells|white blood cell count|leukocytes|leucocytes|rbc|red blood cells|platelets|platelet count|plt|hematocrit|haematocrit|hct|mcv|mch|mchc|neutrophils|lymphocytes|monocytes|eosinophils|basophils|inr|pt|aptt|ptt|d-dimer|fibrinogen|ferritin|iron|serum iron|transferrin|transferrin saturation|tibc|vitamin b12|b12|vitamin d|folate|troponin|troponin i|troponin t|bnp|nt-probnp|ck|creatine kinase|uric acid|urate|psa|cea|ca 125|ca 19-9|afp|cortisol|testosterone|estradiol|oestradiol|prolactin|fsh|lh|pth|insulin|c-peptide|lactate|ammonia|rheumatoid factor|anti-ccp|procalcitonin|urine protein|acr|microalbumin|osmolality|homocysteine|zinc|copper|lithium level|digoxin level'
const KNOWN = new Set(ANALYTES.split('|').map((name) => name.replace(/[^a-z0-9]/g, '')))
const NAME_WORDS_MAX = 4

const UNITS =
  '(?:[x×*]?\\s?1[0Oo][^\\s/]{0,2}(?:9|12|6|3)\\s?/\\s?(?:[lLuµ]L?)|(?:g|mg|ug|µg|mcg|ng|pg|mmol|umol|µmol|pmol|nmol|mol|mEq|IU|mIU|uIU|µIU|kU|U|mU|K|k|M|fl)\\s?/\\s?(?:dL|dl|DL|L|l|mL|ml|uL|µL|ul|mm3|mol|g|mmol)|mL/min(?:/1[.,]73\\s?m[2²])?|ml/min|mm/hr?|mm/h|cells/[uµ]L|mmHg|fL|pg|%|sec(?:onds)?|s|ratio|UL|U|K/uL)'
const NUMBER =
  /^\s*(?:[:=]|of|was|is|at|level|result|value|→)?\s*(?:of|was|is|at)?\s*([<>≤≥]?\s?\d{1,6}(?:[.,]\d{1,3})?)(?![\d.,/:]|\s?[-–—]\s?\d|\sto\s\d)/i
/** Some tables give the range before the result. */
const RANGE_FIRST =
  /^\s*\(?(?:[<>≤≥]\s?\d{1,6}(?:[.,]\d{1,3})?|\d{1,6}(?:[.,]\d{1,3})?\s?[-–—]\s?\d{1,6}(?:[.,]\d{1,3})?)\)?\s+(?=\d)/
const UNIT_AT = new RegExp(`^\\s*(${UNITS})(?![\\w])`)
const UNIT_SOMEWHERE = new RegExp(`(?<![\\w.])(${UNITS})(?![\\w])`)
const RANGE = /([<>≤≥]\s?\d{1,6}(?:[.,]\d{1,3})?)|(\d{1,6}(?:[.,]\d{1,3})?)\s?(?:-|–|—|to)\s?(\d{1,6}(?:[.,]\d{1,3})?)/i

/** `listed`: the row stands in a list of results. */
export function labsIn(row: readonly Token[], listed: boolean): FoundLab[] {
  const all = strip(row)
  const starts = analytesIn(row)
  const found: FoundLab[] = []
  starts.forEach(({ from, to }, i) => {
    const end = starts[i + 1]?.from ?? row.length
    const lab = labFrom(all, row.slice(from, to), row.slice(to, end))
    if (lab) found.push(lab)
  })
  if (found.length > 0 || !listed || starts.length > 0) return found
  // An analyte that no list knows, but with a number and a unit, among results.
  const words = row.findIndex((token) => /^[<>]?\d/.test(token.text))
  if (words < 1 || words > NAME_WORDS_MAX) return []
  const lab = labFrom(all, row.slice(0, words), row.slice(words))
  return lab && lab.value.unit !== null && /\p{L}{2}/u.test(lab.value.name) ? [lab] : []
}

function analytesIn(row: readonly Token[]): { from: number; to: number }[] {
  const found: { from: number; to: number }[] = []
  for (let at = 0; at < row.length; at++) {
    for (let words = Math.min(NAME_WORDS_MAX, row.length - at); words > 0; words--) {
      const key = row
        .slice(at, at + words)
        .map(({ text }) => text.toLowerCase().replace(/[^a-z0-9]/g, ''))
        .join('')
      if (!isKnown(key)) continue
      found.push({ from: at, to: at + words })
      at += words - 1
      break
    }
  }
  return found
}

const isKnown = (key: string): boolean => {
  if (KNOWN.has(key)) return true
  if (key.length < 7) return false
  for (const name of KNOWN) if (name.length >= 7 && name[0] === key[0] && isNear(name, key, 1)) return true
  return false
}

function labFrom(all: Strip, name: readonly Token[], rest: readonly Token[]): FoundLab | null {
  const after = strip(rest)
  // "(HbA1c)" and other remarks between the name and the number are skipped.
  const remark = /^\s*\([^)\d]*\)/.exec(after.text)?.[0].length ?? 0
  const rangeBefore = RANGE_FIRST.exec(after.text.slice(remark))?.[0] ?? ''
  const lead = remark + rangeBefore.length
  const number = NUMBER.exec(after.text.slice(lead))
  if (!number) return null
  const numberEnd = lead + number[0].length
  const tail = after.text.slice(numberEnd)
  const unitHere = UNIT_AT.exec(tail)
  const unit = unitHere ?? UNIT_SOMEWHERE.exec(tail)
  const rangeFrom = unitHere ? unitHere[0].length : 0
  const rangeAfter = rangeBefore === '' ? RANGE.exec(tail.slice(rangeFrom)) : null
  const range = rangeAfter ?? RANGE.exec(rangeBefore)
  const unitEnd = unit ? unit.index + unit[0].length : 0
  const rangeEnd = rangeAfter ? rangeFrom + rangeAfter.index + rangeAfter[0].length : 0
  const end = numberEnd + Math.max(unitEnd, rangeEnd)
  const value: LabValue = {
    name: nameOf(name),
    value: plain(number[1]!),
    unit: unit ? unitOf(unit[1]!) : null,
    referenceRange: range ? (range[1] ? plain(range[1]) : `${plain(range[2]!)}-${plain(range[3]!)}`) : null,
  }
  const first = name[0]!
  const inAll = all.starts[all.tokens.indexOf(first)]!
  const tokens = [...within(all, inAll, inAll + strip(name).text.length), ...within(after, 0, end)]
  return { value, tokens }
}

const plain = (read: string): string => read.replace(/\s/g, '').replace(',', '.')
/** Small raised digits and a lone slash are what recognition loses first; there is only one such unit each. */
const unitOf = (read: string): string => {
  const unit = read.replace(/\s/g, '')
  const count = /^[x×*]?1[0Oo][^\s/]*?(9|12|6|3)\/[lL]$/.exec(unit)
  if (count) return `10^${count[1]}/L`
  return unit === 'UL' ? 'U/L' : unit
}

const nameOf = (tokens: readonly Token[]): string =>
  tokens
    .map(({ text }) => text)
    .join(' ')
    .replace(/[^\p{L}\p{N})]+$/u, '')
    .replace(/^[^\p{L}\p{N}]+/u, '')
    .replace(/^(Hb)?A[lI]c$/, '$1A1c')
