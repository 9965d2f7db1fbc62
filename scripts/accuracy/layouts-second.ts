/** The second family: held out at first, measured once, afterwards looked at to mend mistakes. */
import { american, dotted, short, written, type Case } from './case.js'
import type { Layout } from './layout.js'
import type { Pen } from '../raster.js'

/** Shaded section bars; small captions above their answers; boxes to tick. */
const sections = (pen: Pen, facts: Case): void => {
  const date = facts.pick([american, short])
  const bar = (y: number, title: string): void => {
    pen.box(44, y, 507, 17, 0.85)
    pen.text(50, y + 12.5, title, { size: 10, bold: true })
  }
  const cell = (x: number, y: number, caption: string, answer: string): void => {
    pen.text(x, y, caption, { size: 7.5 })
    pen.text(x, y + 14, answer, { size: 10.5 })
  }
  pen.text(44, 50, 'OUTPATIENT REFERRAL', { size: 15, bold: true })
  bar(64, '1  PATIENT')
  cell(50, 96, 'Last name', facts.family)
  cell(210, 96, 'First name', facts.given)
  cell(370, 96, 'Date of birth', date(facts.born))
  cell(50, 130, 'Medical record number', facts.id)
  cell(210, 130, 'Daytime phone', facts.phone)
  bar(156, '2  REFERRAL')
  cell(50, 188, 'Refer to', facts.department)
  cell(210, 188, 'Date of request', date(facts.referred))
  cell(370, 188, 'Referring provider', facts.doctor)
  const tick = (value: string): string => (facts.urgency[0] === value ? '[X]' : '[ ]')
  pen.text(
    50,
    224,
    `Urgency:  ${tick('routine')} Routine   ${tick('urgent')} Urgent   ${tick('emergency')} Emergency`,
    { size: 10.5 },
  )
  bar(240, '3  CLINICAL INFORMATION')
  cell(50, 272, 'Reason for referral', facts.reason)
  cell(50, 306, 'Primary diagnosis', facts.diagnosis)
  cell(400, 306, 'ICD-10 code(s)', facts.codes.join(', '))
  bar(332, '4  CURRENT MEDICATIONS')
  facts.drugs.forEach(({ drug, dose, unit, every }, i) =>
    pen.text(50, 366 + i * 16, `${drug} ${dose} ${unit}, ${every[0]}`, { size: 10.5 }),
  )
  const y = 376 + facts.drugs.length * 16
  bar(y, '5  LABORATORY')
  facts.labs.forEach(({ name, value, unit, range }, i) => {
    pen.text(50, y + 34 + i * 16, name, { size: 10.5 })
    pen.text(200, y + 34 + i * 16, value, { size: 10.5 })
    pen.text(260, y + 34 + i * 16, unit, { size: 10.5 })
    pen.text(360, y + 34 + i * 16, range, { size: 10.5 })
  })
}

/** A fax memo: leader dots, bullets, results in one running line. */
const memo = (pen: Pen, facts: Case): void => {
  const size = 11
  pen.text(60, 60, 'F A X', { size: 20, bold: true })
  const rows: [string, string][] = [
    ['DATE', written(facts.referred)],
    ['TO', `${facts.department} Clinic`],
    ['FROM', `Dr. ${facts.doctor}`],
    ['PATIENT', `${facts.given} ${facts.family}`],
    ['BIRTH DATE', written(facts.born)],
    ['RECORD NUMBER', facts.id],
    ['CALL BACK', facts.phone],
    ['PRIORITY', facts.urgency[1]],
  ]
  rows.forEach(([label, value], i) => {
    pen.text(60, 100 + i * 21, label, { size, bold: true })
    pen.text(175, 100 + i * 21, '.......', { size })
    pen.text(215, 100 + i * 21, value, { size })
  })
  const y = 100 + rows.length * 21 + 18
  pen.text(60, y, 'Indication:', { size, bold: true })
  pen.text(150, y, facts.reason, { size })
  pen.text(60, y + 22, 'Dx:', { size, bold: true })
  pen.text(150, y + 22, `${facts.diagnosis} (${facts.codes.join(', ')})`, { size })
  pen.text(60, y + 54, 'Meds:', { size, bold: true })
  facts.drugs.forEach(({ drug, dose, unit, every }, i) =>
    pen.text(75, y + 74 + i * 18, `- ${drug} ${dose} ${unit} PO ${every[0]}`, { size }),
  )
  const labs = y + 94 + facts.drugs.length * 18
  pen.text(60, labs, 'Labs:', { size, bold: true })
  for (let i = 0; i < facts.labs.length; i += 2) {
    const line = facts.labs
      .slice(i, i + 2)
      .map(({ name, value, unit, range }) => `${name} ${value} ${unit} (ref ${range})`)
    pen.text(75, labs + 20 + i * 9, line.join(', '), { size })
  }
}

/** A consultant's letter: patient block at the right, a small ruled table of results inside the text. */
const mixed = (pen: Pen, facts: Case): void => {
  const size = 10.5
  pen.text(60, 60, 'Lakeside Primary Care Associates', { size: 13, bold: true })
  pen.text(60, 76, 'Phone 555-100-2000   Fax 555-100-2001', { size: 9 })
  pen.text(340, 110, `Patient: ${facts.given} ${facts.family}`, { size })
  pen.text(340, 126, `D.O.B.: ${dotted(facts.born)}`, { size })
  pen.text(340, 142, `Patient ID: ${facts.id}`, { size })
  pen.text(340, 158, `Mobile: ${facts.phone}`, { size })
  pen.text(60, 110, `Date: ${dotted(facts.referred)}`, { size })
  pen.text(60, 126, `Attn: ${facts.department}`, { size })
  pen.text(60, 142, `Referral type: ${facts.urgency[1]}`, { size })
  pen.text(60, 196, 'Dear Sir or Madam,', { size })
  pen.text(60, 220, 'I am referring the above patient with the following problem:', { size })
  pen.text(60, 238, `${facts.reason}.`, { size })
  pen.text(60, 262, `Diagnosis: ${facts.diagnosis}, ICD-10 ${facts.codes.join(' and ')}`, { size })
  pen.text(60, 290, 'Medication at present', { size, bold: true })
  facts.drugs.forEach(({ drug, dose, unit, every }, i) =>
    pen.text(60, 307 + i * 16, `${i + 1}) ${drug}, ${dose} ${unit} ${every[0]}`, { size }),
  )
  const y = 330 + facts.drugs.length * 16
  const columns = [66, 220, 290, 400]
  ;['Test', 'Reference', 'Result', 'Unit'].forEach((head, c) => pen.text(columns[c]!, y, head, { size, bold: true }))
  facts.labs.forEach(({ name, value, unit, range }, i) => {
    pen.line(60, y + 5 + i * 18, 500, y + 5 + i * 18)
    ;[name, range, value, unit].forEach((cell, c) => pen.text(columns[c]!, y + 18 + i * 18, cell, { size }))
  })
  const end = y + 40 + facts.labs.length * 18
  pen.text(60, end, 'Sincerely,', { size })
  pen.text(60, end + 40, `${facts.doctor}, M.D.`, { size })
}

export const SECOND: readonly Layout[] = [
  { name: 'sections with captions', face: 'Helvetica', draw: sections },
  { name: 'fax memo', face: 'Courier', draw: memo },
  { name: 'letter with table', face: 'Times', draw: mixed },
]
