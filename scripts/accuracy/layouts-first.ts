/** The first family: measured once when extraction was finished, afterwards looked at to mend mistakes. */
import { american, dotted, iso, written, type Case } from './case.js'
import type { Layout } from './layout.js'
import type { Pen } from '../raster.js'

/** A ruled table, label left and value right, as an electronic referral system prints it. */
const ruledTable = (pen: Pen, facts: Case): void => {
  pen.text(46, 52, 'St. Brendan Regional Hospital', { size: 13, bold: true })
  pen.text(46, 68, 'Electronic outpatient referral, printed copy', { size: 9 })
  const date = facts.pick([american, iso])
  const rows: [string, string][] = [
    ['Surname, given name', `${facts.family.toUpperCase()}, ${facts.given}`],
    ['Date of birth', date(facts.born)],
    ['Hospital number', facts.id],
    ['Contact telephone', facts.phone],
    ['Referral made on', date(facts.referred)],
    ['Referring clinician', `Dr ${facts.doctor}`],
    ['Service requested', facts.department],
    ['Triage level', facts.urgency[1]],
    ['Presenting problem', facts.reason],
    ['Working diagnosis', facts.diagnosis],
    ['ICD-10-CM', facts.codes.join('; ')],
  ]
  rows.forEach(([label, value], i) => {
    pen.line(46, 88 + i * 23, 549, 88 + i * 23)
    pen.text(52, 103 + i * 23, label, { size: 10, bold: true })
    pen.text(200, 103 + i * 23, value, { size: 10 })
  })
  const end = 88 + rows.length * 23
  pen.line(46, end, 549, end)
  for (const x of [46, 192, 549]) pen.line(x, 88, x, end)
  pen.text(46, end + 30, 'Prescribed medicines', { size: 11, bold: true })
  facts.drugs.forEach(({ drug, dose, unit, every }, i) => {
    pen.text(52, end + 50 + i * 17, drug, { size: 10 })
    pen.text(210, end + 50 + i * 17, `${dose} ${unit}`, { size: 10 })
    pen.text(320, end + 50 + i * 17, every[0], { size: 10 })
  })
  const labs = end + 80 + facts.drugs.length * 17
  pen.text(46, labs, 'Latest pathology', { size: 11, bold: true })
  facts.labs.forEach(({ name, value, unit, range }, i) => {
    pen.text(52, labs + 20 + i * 17, name, { size: 10 })
    pen.text(210, labs + 20 + i * 17, `${value} ${unit}`, { size: 10 })
    pen.text(340, labs + 20 + i * 17, `(${range})`, { size: 10 })
  })
}

const wrap = (pen: Pen, x: number, y: number, width: number, text: string, size: number): number => {
  let line = ''
  let at = y
  for (const word of text.split(' ')) {
    if (pen.width(`${line} ${word}`, { size }) > width) {
      pen.text(x, at, line.trim(), { size })
      at += size * 1.5
      line = ''
    }
    line += ` ${word}`
  }
  pen.text(x, at, line.trim(), { size })
  return at + size * 1.5
}

/** A letter in whole sentences, serif, nothing labelled but the subject line. */
const letter = (pen: Pen, facts: Case): void => {
  const title = facts.chance(0.5) ? 'Mr' : 'Mrs'
  const size = 11
  pen.text(330, 60, 'Oakfield Surgery', { size: 14, bold: true })
  pen.text(330, 76, 'Station Parade 8, Wexcombe', { size: 10 })
  pen.text(60, 120, written(facts.referred), { size })
  pen.text(60, 150, `Dear colleague in ${facts.department},`, { size })
  pen.text(
    60,
    178,
    `Re: ${title} ${facts.given} ${facts.family}, born ${written(facts.born)}, hospital number ${facts.id}`,
    { size: 10.5 },
  )
  const urgency =
    facts.urgency[0] === 'routine'
      ? 'A routine appointment will do.'
      : facts.urgency[0] === 'urgent'
        ? 'I would be grateful for an urgent appointment.'
        : 'Please see this patient as an emergency.'
  let y = wrap(
    pen,
    60,
    206,
    470,
    `Thank you for accepting this patient for assessment of ${facts.reason.toLowerCase()}. ${urgency}`,
    size,
  )
  y = wrap(
    pen,
    60,
    y + 8,
    470,
    `We have made a diagnosis of ${facts.diagnosis.toLowerCase()} (${facts.codes.join(', ')}).`,
    size,
  )
  const drugs = facts.drugs.map(({ drug, dose, unit, every }) => `${drug.toLowerCase()} ${dose} ${unit} ${every[0]}`)
  y = wrap(
    pen,
    60,
    y + 8,
    470,
    `Current treatment consists of ${drugs.slice(0, -1).join(', ')} and ${drugs.at(-1)}.`,
    size,
  )
  const labs = facts.labs.map(({ name, value, unit, range }) => `${name} ${value} ${unit} (normal ${range})`)
  y = wrap(pen, 60, y + 8, 470, `Recent blood tests showed ${labs.join(', ')}.`, size)
  y = wrap(pen, 60, y + 8, 470, `The patient can be reached on ${facts.phone}.`, size)
  pen.text(60, y + 24, 'With kind regards,', { size })
  pen.text(60, y + 64, `Dr. ${facts.doctor}, MD`, { size })
}

/** Typewriter face, two columns: the person on the left, medicines on the right, results below across both. */
const typewriter = (pen: Pen, facts: Case): void => {
  const size = 9.5
  const date = facts.pick([dotted, american])
  pen.text(50, 56, 'CONSULTATION REQUEST', { size: 13, bold: true })
  const rows: [string, string][] = [
    ['Patient', `${facts.given} ${facts.family}`],
    ['DOB', date(facts.born)],
    ['Chart #', facts.id],
    ['Tel', facts.phone],
    ['Requested by', `${facts.doctor}, MD`],
    ['Requested on', date(facts.referred)],
    ['Consult service', facts.department],
    ['Priority', facts.urgency[1]],
  ]
  rows.forEach(([label, value], i) => pen.text(50, 90 + i * 18, `${label}: ${value}`, { size }))
  pen.text(330, 90, 'HOME MEDICATIONS', { size, bold: true })
  facts.drugs.forEach(({ drug, dose, unit, every }, i) =>
    pen.text(330, 108 + i * 18, `${drug} ${dose}${unit} ${every[0]}`, { size }),
  )
  const y = 90 + rows.length * 18 + 20
  pen.text(50, y, 'CLINICAL QUESTION', { size, bold: true })
  pen.text(50, y + 18, facts.reason, { size })
  pen.text(50, y + 50, 'IMPRESSION', { size, bold: true })
  pen.text(50, y + 68, `${facts.diagnosis} [${facts.codes[0]}]`, { size })
  if (facts.codes[1]) pen.text(50, y + 86, `Also coded: ${facts.codes[1]}`, { size })
  pen.text(50, y + 120, 'RESULTS', { size, bold: true })
  const columns = [50, 220, 310, 410]
  ;['Component', 'Value', 'Units', 'Ref. interval'].forEach((head, c) =>
    pen.text(columns[c]!, y + 140, head, { size, bold: true }),
  )
  facts.labs.forEach(({ name, value, unit, range }, i) =>
    [name, value, unit, range].forEach((cell, c) => pen.text(columns[c]!, y + 158 + i * 17, cell, { size })),
  )
}

export const FIRST: readonly Layout[] = [
  { name: 'ruled table', face: 'Helvetica', draw: ruledTable },
  { name: 'letter', face: 'Times', draw: letter },
  { name: 'typewriter, two columns', face: 'Courier', draw: typewriter },
]
