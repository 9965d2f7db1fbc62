/**
 * Pages that were read -> the fields of a referral. A pure function: the same pages always give the same fields.
 * Puts together what the parts find; decides between them; knows no pattern itself.
 */
import { codesIn } from './codes.js'
import { dayOrderOf } from './dates.js'
import { FIELDS_MAX, type Field } from './extract-output.js'
import { labsIn } from './lab-values.js'
import { boxOf, confidenceOf, strip, textOf, unitsOf, within, type Token } from './layout.js'
import { letterFieldsOf } from './letters.js'
import { medicationsIn } from './medications.js'
import { mapPage, type PageMap } from './page-map.js'
import { labelledCodes, textFieldsOf, type Found } from './text-fields.js'
import type { ReadPage } from '../ocr/read-output.js'

const ORDER = [
  'patientName',
  'dateOfBirth',
  'patientId',
  'phone',
  'referringPhysician',
  'referralDate',
  'department',
  'urgency',
  'reason',
  'diagnosis',
] as const

export function extractFields(pages: readonly ReadPage[]): Field[] {
  const order = dayOrderOf(pages.map((page) => page.text).join('\n'))
  const maps = pages.filter((page) => page.words.length > 0).map(mapPage)
  const found = maps.flatMap((map) => [...textFieldsOf(map, order), ...letterFieldsOf(map, order)])
  const fields = [
    ...ORDER.flatMap((name) => best(found.filter((one) => one.name === name))),
    ...codesOf(maps),
    ...maps.flatMap((map) => medicationFields(map)),
    ...maps.flatMap((map) => labFields(map)),
  ]
  return unique(fields).slice(0, FIELDS_MAX)
}

/** Highest rank; the first of equals. */
function best(found: readonly Found[]): Field[] {
  const [first] = found.toSorted((a, b) => b.rank - a.rank)
  return first ? [toField(first)] : []
}

const place = (tokens: readonly Token[], trust = 1) => ({
  raw: textOf(tokens),
  confidence: Math.round(confidenceOf(tokens) * trust * 100) / 100,
  page: tokens[0]!.page,
  box: boxOf(tokens),
})

const toField = ({ name, value, tokens, trust }: Found): Field => ({ name, value, ...place(tokens, trust) })

function codesOf(maps: readonly PageMap[]): Field[] {
  const labelled = maps.flatMap(labelledCodes)
  const anywhere = maps.flatMap((map) =>
    unitsOf(map.rows).flatMap((unit): Found[] => {
      const text = strip(unit.tokens)
      return codesIn(text, false).map((code) => ({
        name: 'icd10',
        value: code.value,
        tokens: within(text, code.from, code.to),
        rank: 0,
        trust: 1,
      }))
    }),
  )
  return [...labelled, ...anywhere].map(toField)
}

function medicationFields(map: PageMap): Field[] {
  const sections = sectionsOf(map)
  return unitsOf(map.rows).flatMap(({ row, tokens }) => {
    const labs = new Set(labsIn(tokens, false).map((lab) => lab.value.name.toLowerCase()))
    return (
      medicationsIn(tokens, sections[row] === 'medications')
        // What reads as a lab value is none: "Glucose 100 mg/dL".
        .filter(({ value }) => !labs.has(value.drug.toLowerCase()))
        .map((one) => ({ name: 'medication' as const, value: one.value, ...place(one.tokens) }))
    )
  })
}

function labFields(map: PageMap): Field[] {
  const sections = sectionsOf(map)
  return unitsOf(map.rows).flatMap(({ row, tokens }) =>
    labsIn(tokens, sections[row] === 'labs')
      .filter(({ value }) => value.unit !== null || value.referenceRange !== null || sections[row] === 'labs')
      .map((one) => ({ name: 'labValue' as const, value: one.value, ...place(one.tokens) })),
  )
}

/** For each row the list it stands in: from a heading to the next label of another kind. */
function sectionsOf(map: PageMap): ('medications' | 'labs' | null)[] {
  let section: 'medications' | 'labs' | null = null
  return map.rows.map((_, i) => {
    const label = map.labels.find((other) => other.row === i && other.strength !== 'prose')
    if (label) section = label.name === 'medications' || label.name === 'labs' ? label.name : null
    return section
  })
}

function unique(fields: readonly Field[]): Field[] {
  const seen = new Set<string>()
  return fields.filter((field) => {
    const { name, value } = field
    const key = typeof value === 'string' ? `${name} ${value}` : `${name} ${JSON.stringify(value).toLowerCase()}`
    if (seen.has(key)) return false
    seen.add(key)
    return true
  })
}
