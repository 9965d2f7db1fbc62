/**
 * The fields with one value: for each label the words that may be its value, read as what the field has to be. The
 * best reading of all labels of a field wins.
 *
 * A label marked by a colon beats one without, which beats one in running text; of equals, the more particular
 * label ("date of referral" before "date") and then the first on the page.
 */
import { codesIn } from './codes.js'
import { datesIn, type DayOrder } from './dates.js'
import type { TextFieldName } from './extract-output.js'
import type { LabelName } from './labels.js'
import { segments, strip, textOf, within, type Token } from './layout.js'
import { nameAtStart, partAtStart } from './names.js'
import { beside, candidates, columnRows, paragraph, sectionOf, type PageMap, type PlacedLabel } from './page-map.js'
import { departmentIn } from './specialties.js'

/** `trust` lowers the confidence where something was put right. */
export type Found = { name: TextFieldName; value: string; tokens: Token[]; rank: number; trust: number }

type Reading = { value: string; tokens: readonly Token[] }
type Reader = (tokens: readonly Token[], order: DayOrder) => Reading | null

const reading = (value: string | null | undefined, tokens: readonly Token[]): Reading | null =>
  value && tokens.length > 0 ? { value, tokens } : null

const readDate: Reader = (tokens, order) => {
  const text = strip(tokens)
  const date = datesIn(text.text, order)[0]
  return date && date.from < 20 ? reading(date.iso, within(text, date.from, date.to)) : null
}

const readPhone: Reader = (tokens) => {
  const text = strip(tokens)
  const match = /(?:\+|\()?\(?\d[\d\s().\-–/]{5,20}\d/.exec(text.text)
  if (!match || match.index > 12) return null
  const digits = match[0].replace(/\D/g, '')
  if (digits.length < 7 || digits.length > 15) return null
  return reading(
    (match[0].startsWith('+') ? '+' : '') + digits,
    within(text, match.index, match.index + match[0].length),
  )
}

/** Letters, digits, dashes, at least one digit; numbers in groups ("943 476 5919") are one. */
const readId: Reader = (tokens) => {
  const text = strip(tokens)
  const match =
    /^[#№\s:]*(?:no\.?\s*)?((?:[A-Z]{1,5}[- ]?)?\d[\dA-Z]*(?:[-/.]?[A-Z0-9]+)*(?:\s\d{2,4}(?![\d/.-]))*)/i.exec(
      text.text,
    )
  const id = match?.[1]
  if (!match || !id || id.replace(/\D/g, '').length < 3 || /^\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}$/.test(id)) return null
  return reading(id.replace(/\s/g, ''), within(text, match[0].length - id.length, match[0].length))
}

const readName: Reader = (tokens) => nameAtStart(tokens)

const URGENCIES: readonly [RegExp, string][] = [
  [/\b(?:emergency|emergent|stat|immediate(?:ly)?|same[- ]day)\b/i, 'emergency'],
  [/\b(?:non|not)[- ]?urgent\b/i, 'routine'],
  [/\b(?:urgent|urgently|high|expedited?|asap|two[- ]week|2[- ]?ww|2[- ]week|soon|priority)\b/i, 'urgent'],
  [/\b(?:routine|normal|standard|elective|low|regular)\b/i, 'routine'],
]

const TICKED = /(?:\[\s?[xX✓✔]\s?\]|\([xX]\)|☒|☑|(?:^|\s)[xX]\s)\s*([A-Za-z-]+)/

/** On a form with boxes to tick the ticked one counts: "[x] Urgent [ ] Routine". */
const readUrgency: Reader = (tokens) => {
  const text = strip(tokens)
  const ticked = TICKED.exec(text.text)
  const read = ticked?.[1] ?? text.text
  const found = URGENCIES.find(([pattern]) => pattern.test(read))
  if (!found || (!ticked && text.text.length > 60)) return null
  const at = ticked ? ticked.index + ticked[0].length - read.length : (found[0].exec(text.text)?.index ?? 0)
  const length = ticked ? read.length : (found[0].exec(text.text)?.[0].length ?? read.length)
  return reading(found[1], within(text, at, at + length))
}

/** A few lines of prose, without the codes in brackets after it. */
const readProse: Reader = (tokens) => {
  const text = textOf(tokens)
  const value = text
    .replace(/\s*[([{][^()[\]]*\d[^()[\]]*[)\]}]\.?\s*$/, (end) => (/[A-Z1|0]\d\d/.test(end) ? '' : end))
    .replace(/[\s,;:.]+$/, '')
  return /\p{L}{3}/u.test(value) ? reading(value, tokens) : null
}

const READERS: { [name in TextFieldName]?: Reader } = {
  patientName: readName,
  dateOfBirth: readDate,
  patientId: readId,
  phone: readPhone,
  referringPhysician: readName,
  referralDate: readDate,
  department: (tokens) => departmentIn(tokens),
  urgency: readUrgency,
}

const GENERIC: ReadonlySet<string> = new Set([
  'name',
  'fullname',
  'phone',
  'telephone',
  'tel',
  'id',
  'idno',
  'contact',
  'mobile',
  'ph',
  'phonenumber',
  'contactnumber',
  'telephonenumber',
  'date',
  'call',
  'cell',
  'telno',
  'phoneno',
  'nameinfull',
  'identifier',
])
const PROSE_LINES_MAX = 6
const STRENGTH = { marked: 30, bare: 20, prose: 10 } as const

/** Who a label speaks of depends on the heading it stands under: "Name" may be the doctor's. */
function meaning(map: PageMap, label: PlacedLabel): LabelName {
  if (!GENERIC.has(label.key)) return label.name
  const section = sectionOf(map, label)
  if (section === 'recipientSection' && label.name !== 'referralDate') return 'other'
  if (section !== 'referrerSection') return label.name
  if (label.name === 'patientName') return 'referringPhysician'
  return label.name === 'phone' || label.name === 'patientId' ? 'other' : label.name
}

export function textFieldsOf(map: PageMap, order: DayOrder): Found[] {
  const found: Found[] = []
  for (const label of map.labels) {
    const name = meaning(map, label)
    const rank = STRENGTH[label.strength] + Math.min(9, label.key.length / 3)
    if (name === 'subject') found.push(...subjectOf(map, label, rank))
    if (name === 'reason' || name === 'diagnosis') {
      if (label.strength === 'prose') continue
      const value = readProse(paragraph(map, label, PROSE_LINES_MAX), order)
      if (value) found.push({ name, ...value, tokens: [...value.tokens], rank, trust: 1 })
      continue
    }
    const read = READERS[name as TextFieldName]
    if (!read || (name === 'phone' && isOthersPhone(map, label))) continue
    const ticks = name === 'urgency' ? ticksBeside(map, label) : []
    for (const tokens of [...ticks, ...candidates(map, label)]) {
      const value = read(tokens, order)
      if (!value) continue
      found.push({ name: name as TextFieldName, ...value, tokens: [...value.tokens], rank, trust: 1 })
      break
    }
  }
  return [...found, ...splitNames(map)]
}

/** Boxes to tick stand far apart: the whole rest of the row counts. */
function ticksBeside(map: PageMap, label: PlacedLabel): Token[][] {
  const rest = map.rows[label.row]!.tokens.slice(label.to)
  return TICKED.test(textOf(rest)) ? [rest] : []
}

/** A letterhead's or the doctor's number is not the patient's. */
function isOthersPhone(map: PageMap, label: PlacedLabel): boolean {
  if (label.key.startsWith('patient')) return false
  const patient = map.labels.find(
    (other) => other.name === 'patientName' || other.name === 'lastName' || other.name === 'subject',
  )
  if (patient && patient.row - label.row > 2) return true
  const beforeInRow = map.labels.filter((other) => other.row === label.row && other.to <= label.from)
  if (beforeInRow.at(-1)?.name === 'referringPhysician') return true
  return map.rows
    .slice(0, label.row)
    .some((row) =>
      /^(?:yours|sincerely|kind regards|best regards|regards|with (?:kind|best))/i.test(textOf(row.tokens)),
    )
}

/** "Re: Mr. Thomas Bergmann, date of birth …" */
function subjectOf(map: PageMap, label: PlacedLabel, rank: number): Found[] {
  const name = nameAtStart(beside(map, label))
  return name ? [{ name: 'patientName', value: name.value, tokens: name.tokens, rank, trust: 1 }] : []
}

/** A box for the given name and one for the family name. */
function splitNames(map: PageMap): Found[] {
  const part = (name: LabelName): { value: string; tokens: Token[]; row: number } | null => {
    for (const label of map.labels.filter((other) => other.name === name && other.strength !== 'prose')) {
      if (sectionOf(map, label) === 'referrerSection') continue
      for (const tokens of candidates(map, label)) {
        const read = partAtStart(segments({ page: map.n, y: 0, h: map.usualHeight, tokens: [...tokens] })[0]!)
        if (read) return { ...read, row: label.row }
      }
    }
    return null
  }
  const given = part('firstName')
  const family = part('lastName')
  if (!given || !family || Math.abs(given.row - family.row) > 6) return []
  const tokens = [...given.tokens, ...family.tokens]
  return [{ name: 'patientName', value: `${given.value} ${family.value}`, tokens, rank: 35, trust: 1 }]
}

/** Codes after a label, beside it, below it, and in the lines that follow. */
export function labelledCodes(map: PageMap): Found[] {
  const found: Found[] = []
  for (const label of map.labels.filter((other) => other.name === 'icd10')) {
    const lines = [beside(map, label)]
    const under = columnRows(map, label, label.row + 1).slice(0, 4)
    if (label.strength !== 'prose') {
      for (const line of under) {
        if (map.labels.some((other) => other.row === line.index && other.strength !== 'prose')) break
        lines.push(line.tokens)
      }
    }
    for (const [i, line] of lines.entries()) {
      const text = strip(line)
      const codes = codesIn(text, true)
      // A line of prose below is no list of codes: each must begin with one.
      if (i > 0 && codes[0]?.from !== 0) break
      for (const code of i === 0 ? codes : codes.slice(0, 1)) {
        const tokens = within(text, code.from, code.to)
        found.push({ name: 'icd10', value: code.value, tokens, rank: 30, trust: code.mended ? 0.8 : 1 })
      }
    }
  }
  return found
}
