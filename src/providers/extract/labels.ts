/**
 * The words that name a field on a page, and finding them in a row. `other` labels end the value before them and
 * name nothing that is extracted.
 */
import type { Token } from './layout.js'

export type LabelName =
  | 'patientName'
  | 'firstName'
  | 'lastName'
  | 'dateOfBirth'
  | 'patientId'
  | 'phone'
  | 'referringPhysician'
  | 'referralDate'
  | 'department'
  | 'urgency'
  | 'reason'
  | 'diagnosis'
  | 'icd10'
  | 'medications'
  | 'labs'
  | 'subject'
  | 'patientSection'
  | 'referrerSection'
  | 'recipientSection'
  | 'other'

/** Phrases of lower-case words; a page may write them with any capitals, dots and dashes. */
const PHRASES: Record<LabelName, string> = {
  patientName:
    'patient name|patients name|name of patient|name of the patient|patient|pt name|pt|client name|client|full name|patient full name|name|patient name and surname|legal name|name in full|surname given name|surname first name|surname and given name|last name first name|family name given name|surname forename|subject name|person referred|name surname',
  firstName: 'first name|given name|given names|forename|forenames|first names|firstname',
  lastName: 'last name|surname|family name|lastname',
  dateOfBirth:
    'date of birth|dob|birth date|birthdate|born|born on|birthday|patient dob|d o b|patient date of birth|date of birth dob',
  patientId:
    'mrn|patient id|patient no|patient number|medical record number|medical record no|medical record|record no|record number|hospital number|hospital no|hospital id|nhs number|nhs no|chart number|chart no|chart|file no|file number|case number|case no|patient identifier|id|id no|id number|ur number|unit number|unit no|health record number|pid|mr no|patient ref|patient reference|health number|identifier|medical record mrn|patient id mrn|med rec no|registration no|registration number',
  phone:
    'phone|telephone|tel|phone number|phone no|telephone number|telephone no|mobile|cell|contact number|contact no|contact phone|contact tel|contact|patient phone|home phone|cell phone|mobile phone|daytime phone|patient telephone|tel no|mobile no|mobile number|ph|best contact|call|call back|callback|call back number|callback number',
  referringPhysician:
    'referring physician|referring provider|referring doctor|referring clinician|referring practitioner|referring gp|referring md|referred by|referrer|referrer name|name of referrer|requesting physician|requesting doctor|requesting provider|requesting clinician|requested by|ordering physician|ordering provider|primary care physician|primary care provider|pcp|family doctor|family physician|general practitioner|gp|gp name|from|physician|provider|doctor|signed by|signed|sent by|name of referring physician|name of referring doctor|attending physician',
  referralDate:
    'referral date|date of referral|date referred|referred on|date|date of request|request date|date of letter|letter date|date issued|issued|issued on|date written|date sent|sent|dated|date of issue|requested on|referral made on|referral made|written on|date signed|date completed',
  department:
    'department|dept|specialty|speciality|refer to|referred to|referral to|refer patient to|service requested|requested service|service|clinic requested|clinic|to|specialist|specialist service|requested specialty|target department|destination|consult service|consultation with|specialty requested|to department|referred department|receiving department|receiving service|send to|attention|attn',
  urgency:
    'urgency|priority|triage|triage level|triage priority|triage category|referral priority|urgency level|level of urgency|referral urgency|priority level|category|referral type|timeframe|priority of referral',
  reason:
    'reason for referral|reason|referral reason|indication|clinical indication|reason for consultation|reason for consult|purpose of referral|presenting complaint|chief complaint|presenting problem|clinical question|question|clinical details|clinical summary|clinical information|reason for request|problem|concern|complaint|main concern|why|referred for|purpose|indication for referral',
  diagnosis:
    'diagnosis|diagnoses|dx|provisional diagnosis|working diagnosis|primary diagnosis|clinical diagnosis|impression|assessment|known diagnosis|current diagnosis|suspected diagnosis|main diagnosis|confirmed diagnosis|presumed diagnosis',
  icd10:
    'icd 10|icd10|icd 10 code|icd 10 codes|icd code|icd codes|icd|icd 10 cm|diagnosis code|diagnosis codes|dx code|dx codes|code|codes|diagnostic code|diagnostic codes|coding|also coded|coded|coded as|additional codes|secondary codes|other codes',
  medications:
    'medications|prescribed medicines|prescribed medications|prescribed drugs|medication|current medications|current medication|medication list|medicines|current medicines|drugs|drug history|regular medications|regular medication|regular medicines|meds|current meds|prescriptions|drug therapy|current drugs|medication summary|treatment|current treatment|current therapy|therapy|present medication|home medications|active medications|rx|drug chart|prescribed medication',
  labs: 'laboratory results|latest pathology|latest results|latest labs|latest bloods|latest blood results|lab results|labs|lab values|laboratory|laboratory values|laboratory data|blood results|blood tests|blood test results|investigations|recent labs|recent results|recent investigations|test results|results|recent bloods|bloods|pathology|pathology results|laboratory findings|lab findings|blood work|bloodwork|recent blood tests|labs of note',
  subject: 're|regarding|subject|concerning|reference',
  patientSection:
    'patient details|patient information|patient data|patient demographics|demographics|about the patient|details of patient|patient particulars|patient info|section a patient|the patient',
  referrerSection:
    'referrer details|referring provider information|referring physician information|referrer information|referring provider details|referring doctor details|referring clinician details|referring practice|practice details|details of referrer|about the referrer|referring physician details|gp details',
  recipientSection: 'referred to details|recipient|specialist details|receiving provider|recipient details',
  other:
    'address|fax|fax no|fax number|email|e mail|sex|gender|age|insurance|insurer|policy no|policy number|member id|allergies|allergy|height|weight|signature|next of kin|emergency contact|appointment date|collected|date collected|collection date|reported|printed|page|history|past medical history|medical history|pmh|social history|family history|examination|on examination|vital signs|vitals|blood pressure|bp|notes|comments|remarks|practice|facility|organisation|organization|street|city|postcode|zip|country|language|interpreter|attachments|enclosures|cc|copy to|date received|received|visit date|date of visit|last seen|ethnicity|occupation|marital status|npi|licence no|license no|registration|plan|background|clinical history|history of present illness|date of onset|onset|duration|symptoms|smoking|alcohol|bmi|pulse|temperature|insurance id|group no|authorization no|office use only|for office use|provider no|provider number|account no|invoice no|valid until|expires|position|role|title|time|ward|room|bed',
}

/** Phrases that also name their field in running text, where a value of the right kind follows. */
const IN_PROSE: ReadonlySet<LabelName> = new Set(['dateOfBirth', 'patientId', 'phone', 'icd10'])
const PROSE_WORDS_NOT = new Set([
  'id',
  'code',
  'codes',
  'chart',
  'identifier',
  'contact',
  'call',
  'cell',
  'icd',
  'coding',
])

type Phrase = { name: LabelName; key: string; words: number }
const ALL: readonly Phrase[] = Object.entries(PHRASES).flatMap(([name, phrases]) =>
  phrases.split('|').map((phrase) => ({
    name: name as LabelName,
    key: phrase.replaceAll(' ', ''),
    words: phrase.split(' ').length,
  })),
)
const EXACT: ReadonlyMap<string, Phrase> = new Map(ALL.toReversed().map((phrase) => [phrase.key, phrase]))
const WORDS_MAX = 6

/** `strength`: `marked` by a colon; `bare` fills a cell or starts it; `prose` inside running text. */
export type Label = { name: LabelName; key: string; from: number; to: number; strength: 'marked' | 'bare' | 'prose' }

const normal = (text: string): string => text.toLowerCase().replace(/[^a-z0-9]/g, '')

/** Labels in a run of words (a segment), left to right, never overlapping. `from` and `to` count words. */
export function labelsIn(tokens: readonly Token[]): Label[] {
  const found: Label[] = []
  // "4. Medications", "B) Referrer": numbering is not part of the label.
  const start = tokens.length > 1 && /^(?:\d{1,2}|[A-Z])[.):]?$|^[-•*#>+]+$/.test(tokens[0]!.text) ? 1 : 0
  for (let at = start; at < tokens.length;) {
    const label = labelAt(tokens, at, at === start)
    if (label === null) at++
    else {
      found.push(label)
      at = label.to
    }
  }
  return found
}

function labelAt(tokens: readonly Token[], at: number, isFirst: boolean): Label | null {
  for (let words = Math.min(WORDS_MAX, tokens.length - at); words > 0; words--) {
    const part = tokens.slice(at, at + words)
    // A colon inside ends the label there.
    if (part.slice(0, -1).some((token) => /[:;]$/.test(token.text))) continue
    const phrase = phraseOf(part.map((token) => normal(token.text)).join(''))
    if (phrase === null) continue
    const to = at + words
    const found = { name: phrase.name, key: phrase.key, from: at, to }
    const next = tokens[to]
    const marked = /[:;]\W*$/.test(part.at(-1)!.text) || (next !== undefined && /^[:;=]+$/.test(next.text))
    if (marked) return { ...found, strength: 'marked' }
    if (isFirst && (to === tokens.length || startsCell(tokens, to))) {
      return { ...found, strength: 'bare' }
    }
    if (IN_PROSE.has(phrase.name) && !PROSE_WORDS_NOT.has(phrase.key)) {
      return { ...found, strength: 'prose' }
    }
  }
  return null
}

/** "Patient  Linda Castellano": a capital letter, a digit, or leader dots follow; not "Patient was seen". */
const startsCell = (tokens: readonly Token[], at: number): boolean => /^[^a-z]/.test(tokens[at]!.text)

const phraseOf = (key: string): Phrase | null => {
  const exact = EXACT.get(key)
  if (exact) return exact
  // Digits are a value's, never a misread label's.
  if (key.length < 6 || /\d/.test(key)) return null
  const distanceMax = Math.floor(key.length / 7)
  if (distanceMax === 0) return null
  return ALL.find((phrase) => phrase.key.length >= 7 && isNear(phrase.key, key, distanceMax)) ?? null
}

/** Levenshtein distance of at most `max`: what recognition gets wrong in a long word. */
export function isNear(a: string, b: string, max: number): boolean {
  if (Math.abs(a.length - b.length) > max) return false
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const swap = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(swap, row[j]! + 1, next[j - 1]! + 1))
    }
    if (Math.min(...next) > max) return false
    row = next
  }
  return row[b.length]! <= max
}
