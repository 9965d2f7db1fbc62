/**
 * What a letter says in sentences instead of labels. wink-nlp finds the sentences (a full stop after "Dr." ends
 * none), patterns read them. Everything found here ranks below what a label names.
 */
import winkNLP from 'wink-nlp'
import model from 'wink-eng-lite-web-model'
import { datesIn, type DayOrder } from './dates.js'
import { strip, textOf, unitsOf, within, type Row, type Strip, type Token } from './layout.js'
import { hasTitle, nameAtStart } from './names.js'
import type { PageMap } from './page-map.js'
import { departmentIn } from './specialties.js'
import type { Found } from './text-fields.js'

const nlp = winkNLP(model, ['sbd'])
const RANK = 5

export function letterFieldsOf(map: PageMap, order: DayOrder): Found[] {
  const found: Found[] = []
  for (const sentence of sentencesOf(map.rows)) found.push(...readSentence(sentence, order))
  found.push(...greetingOf(map), ...signatureOf(map), ...headDateOf(map, order))
  return found
}

const WORDS_MIN = 5
const sentencesOf = (rows: readonly Row[]): Strip[] =>
  unitsOf(rows).flatMap(({ tokens }) => (tokens.length < WORDS_MIN ? [] : split(tokens)))

function split(tokens: readonly Token[]): Strip[] {
  const all = strip(tokens)
  const sentences: Strip[] = []
  let at = 0
  for (const sentence of nlp.readDoc(all.text).sentences().out()) {
    const from = all.text.indexOf(sentence, at)
    if (from < 0) continue
    at = from + sentence.length
    sentences.push(strip(within(all, from, at)))
  }
  return sentences
}

const REASON =
  /\b(?:for|requesting|request|require[sd]?|needs?)\s+(?:an?\s+|your\s+|further\s+|the\s+|urgent\s+|specialist\s+)*(?:evaluation|assessment|investigation|management|opinion|advice|review|work-?up|consultation|treatment|input)(?:\s+and\s+(?:further\s+)?(?:management|treatment|advice|evaluation|assessment|investigation))?\s+(?:of|for|on|regarding|about|because of|due to)\s+(?:(?:his|her|their|the|this|a)\s+)?(.+)$/i
const REASON_SHORT =
  /\b(?:who (?:presents|presented|has presented)|presents|presented|presenting|complains|complaining|complaints?|referred|refer (?:him|her|them|this \w+)|seen)\s+(?:(?:to \w+ )?(?:today |recently )?with|of|because of|due to|for)\s+(?:an?\s+)?(.+)$/i
const DIAGNOSIS =
  /\b(?:diagnos(?:is|ed)\s+(?:of|with|is|as)|known (?:case of|to have)|(?:has|with) (?:a )?(?:known|confirmed|suspected|history of)|suffers from|my impression is|likely diagnosis is|I suspect)\s+(?:an?\s+)?(.+)$/i
const SEEING =
  /\b(?:seeing|reviewing|see|review|refer(?:ring)?|assess(?:ing)?|evaluat(?:e|ing)|accepting|introduc(?:e|ing)|on behalf of|about|regarding)\s+(?:(?:my|this|our|the)\s+(?:\w+\s+)?patient,?\s+)?(?=(?:(?:Mr|Mrs|Ms|Miss|Mx)\.?\s+)?\p{Lu})/iu
const PHONE =
  /\b(?:reach(?:ed|able)|contact(?:ed|able)?|call(?:ed)?|telephoned?|phoned?|number is|tel\.?)\b[^\d+(]{0,24}(\+?\(?\d[\d\s().-]{5,18}\d)/i
const URGENT = /\b(?:urgent(?:ly)?|as soon as possible|at your earliest|emergency|routine)\b/i

function readSentence(sentence: Strip, order: DayOrder): Found[] {
  const found: Found[] = []
  const { text } = sentence
  const add = (name: Found['name'], value: string, tokens: Token[], rank = RANK): void => {
    if (value !== '' && tokens.length > 0) found.push({ name, value, tokens, rank, trust: 1 })
  }
  const phrase = (name: 'reason' | 'diagnosis', pattern: RegExp, rank: number): void => {
    const match = pattern.exec(text)
    if (!match) return
    const value = cut(match[1]!)
    const from = match.index + match[0].length - match[1]!.length
    if (value.length >= 4) add(name, value, within(sentence, from, from + value.length), rank)
  }
  phrase('reason', REASON, RANK + 1)
  phrase('reason', REASON_SHORT, RANK)
  phrase('diagnosis', DIAGNOSIS, RANK)
  const seeing = SEEING.exec(text)
  if (seeing) {
    const name = nameAtStart(within(sentence, seeing.index + seeing[0].length, text.length))
    if (name && !hasTitle(name.tokens)) add('patientName', name.value, name.tokens)
  }
  const born = /\b(?:born(?: on)?|date of birth|DOB)\b[\s:,(]*/i.exec(text)
  const date =
    born &&
    datesIn(text, order).find((other) => other.from >= born.index && other.from <= born.index + born[0].length + 2)
  if (date) add('dateOfBirth', date.iso, within(sentence, date.from, date.to))
  const call = PHONE.exec(text)
  if (call) {
    const from = call.index + call[0].length - call[1]!.length
    const value = (call[1]!.startsWith('+') ? '+' : '') + call[1]!.replace(/\D/g, '')
    if (value.length >= 7) add('phone', value, within(sentence, from, from + call[1]!.length))
  }
  const urgent = /refer|appointment|see|review|assess|urgent/i.test(text) ? URGENT.exec(text) : null
  if (urgent && !/\b(?:non|not|return|any)[- ]?$/i.test(text.slice(0, urgent.index))) {
    const value = /emergency/i.test(urgent[0]) ? 'emergency' : /routine/i.test(urgent[0]) ? 'routine' : 'urgent'
    add('urgency', value, within(sentence, urgent.index, urgent.index + urgent[0].length))
  }
  const referral = /\b(?:refer(?:ral|red|ring)?|department|clinic|opinion|consultation)\b/i.exec(text)
  const department = referral && departmentIn(sentence.tokens, true)
  if (department) add('department', department.value, department.tokens, RANK - 1)
  return found
}

/** A reason ends where the sentence turns to something else, or where codes in brackets follow. */
const cut = (text: string): string =>
  text
    .split(
      /\s*[([]\s?(?:ICD|[A-TV-Z1]\d)|\s+(?:and would|who |which |in whom)|[.;]\s|,\s(?:who|which|and (?:I|he|she|would)|he |she |I )/i,
    )[0]!
    .replace(/[\s.,;:]+$/, '')

/** "Dear Gastroenterology team," */
function greetingOf(map: PageMap): Found[] {
  const row = map.rows.find(({ tokens }) => /^dear$/i.test(tokens[0]?.text ?? ''))
  const department = row && departmentIn(row.tokens, true)
  return department ? [{ name: 'department', ...department, rank: RANK + 1, trust: 1 }] : []
}

/** Under "Yours sincerely": the first name that follows. */
function signatureOf(map: PageMap): Found[] {
  const at = map.rows.findIndex(({ tokens }) =>
    /^(?:yours (?:sincerely|faithfully|truly)|sincerely|(?:with )?(?:kind|best|warm)(?:est)? (?:regards|wishes)|regards|with (?:thanks|many thanks)|many thanks|signed|respectfully|cordially)\b/i.test(
      textOf(tokens),
    ),
  )
  if (at < 0) return []
  for (const row of map.rows.slice(at, at + 4)) {
    const tokens =
      row === map.rows[at] ? row.tokens.filter((_, i) => /[,:]$/.test(row.tokens[i - 1]?.text ?? '')) : row.tokens
    const name = nameAtStart(tokens)
    if (name) return [{ name: 'referringPhysician', value: name.value, tokens: name.tokens, rank: RANK, trust: 1 }]
  }
  return []
}

/** A date alone on its row near the top is the letter's. */
function headDateOf(map: PageMap, order: DayOrder): Found[] {
  for (const row of map.rows.slice(0, 12)) {
    const text = strip(row.tokens)
    const date = datesIn(text.text, order)[0]
    if (!date) continue
    const others = (text.text.slice(0, date.from) + text.text.slice(date.to)).replace(/[^\p{L}]/gu, '')
    if (others.length > 14 || /birth|dob|born/i.test(text.text)) continue
    return [
      { name: 'referralDate', value: date.iso, tokens: within(text, date.from, date.to), rank: RANK - 2, trust: 1 },
    ]
  }
  return []
}
