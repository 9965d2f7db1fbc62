/** The third family, held out: never looked at while extraction was written or mended. Only its score is read. */
import { american, iso, short, written, type Case } from './case.js'
import type { Layout } from './layout.js'
import type { Pen } from '../raster.js'

const wrapped = (pen: Pen, x: number, y: number, width: number, text: string, size: number): number => {
  const lines: string[] = ['']
  for (const word of text.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`.trim()
    if (pen.width(longer, { size }) > width) lines.push(word)
    else lines[lines.length - 1] = longer
  }
  lines.forEach((line, i) => pen.text(x, y + i * size * 1.45, line, { size }))
  return y + lines.length * size * 1.45
}

/** A numbered questionnaire, answers indented on the line below or after a dash. */
const questionnaire = (pen: Pen, facts: Case): void => {
  const size = 11
  const date = facts.pick([written, american])
  pen.text(70, 56, 'Specialist Referral Questionnaire', { size: 15, bold: true })
  const asked: [string, string][] = [
    ["Patient's full name", `${facts.given} ${facts.family}`],
    ['Birth date', date(facts.born)],
    ['Medical record #', facts.id],
    ['Phone number', facts.phone],
    ['Name of referring physician', `Dr. ${facts.doctor}`],
    ['Date of this referral', date(facts.referred)],
    ['Specialty requested', facts.department],
    ['How urgent is the referral?', facts.urgency[1]],
    ['Reason for consultation', facts.reason],
    ['Diagnosis', facts.diagnosis],
    ['ICD-10 code', facts.codes.join(', ')],
  ]
  asked.forEach(([question, answer], i) => {
    pen.text(70, 90 + i * 25, `${i + 1}. ${question}`, { size, bold: true })
    pen.text(255, 90 + i * 25, answer, { size })
  })
  let y = 90 + asked.length * 25 + 8
  pen.text(70, y, `${asked.length + 1}. List all medications`, { size, bold: true })
  for (const { drug, dose, unit, every } of facts.drugs)
    pen.text(90, (y += 18), `${drug} ${dose} ${unit} ${every[0]}`, { size })
  y += 28
  pen.text(70, y, `${asked.length + 2}. Relevant laboratory results`, { size, bold: true })
  for (const { name, value, unit, range } of facts.labs)
    pen.text(90, (y += 18), `${name}: ${value} ${unit} (${range})`, { size })
}

/** A short modern letter: everything in sentences, the person introduced inside one. */
const modernLetter = (pen: Pen, facts: Case): void => {
  const size = 10.5
  pen.text(64, 58, 'Meridian Health Partners', { size: 16, bold: true })
  pen.text(64, 110, short(facts.referred), { size })
  pen.text(64, 140, `${facts.department} Department`, { size })
  pen.text(64, 156, 'University Hospital', { size })
  pen.text(64, 190, 'Dear Doctor,', { size })
  const urgency = {
    routine: 'This is a routine referral.',
    urgent: 'This is an urgent referral.',
    emergency: 'This is an emergency referral.',
  }[facts.urgency[0]]
  const who = `I would like to refer ${facts.chance(0.5) ? 'Ms.' : 'Mr.'} ${facts.given} ${facts.family} (date of birth ${written(facts.born)}, MRN ${facts.id}) for evaluation of ${facts.reason.toLowerCase()}. ${urgency}`
  let y = wrapped(pen, 64, 214, 465, who, size)
  y = wrapped(
    pen,
    64,
    y + 8,
    465,
    `The working diagnosis is ${facts.diagnosis.toLowerCase()} (ICD-10: ${facts.codes.join(', ')}).`,
    size,
  )
  const drugs = facts.drugs.map(({ drug, dose, unit, every }) => `${drug} ${dose} ${unit} ${every[0]}`)
  y = wrapped(pen, 64, y + 8, 465, `Present medications are ${drugs.join('; ')}.`, size)
  const labs = facts.labs.map(({ name, value, unit, range }) => `${name} was ${value} ${unit} (reference ${range})`)
  y = wrapped(pen, 64, y + 8, 465, `On the last blood draw ${labs.join('; ')}.`, size)
  y = wrapped(pen, 64, y + 8, 465, `Please call the patient at ${facts.phone} to schedule a visit.`, size)
  pen.text(64, y + 20, 'Best regards,', { size })
  pen.text(64, y + 56, `${facts.doctor}, MD`, { size })
  pen.text(64, y + 72, 'Internal Medicine', { size })
}

/** A dense printout of a record system: capitals, several labels in one line, flags beside the results. */
const printout = (pen: Pen, facts: Case): void => {
  const size = 10
  const line = (y: number, ...cells: [number, string][]): void =>
    cells.forEach(([x, text]) => pen.text(x, y, text, { size }))
  line(60, [48, '*** REFERRAL ORDER ***'])
  line(90, [48, `NAME: ${facts.family.toUpperCase()}, ${facts.given.toUpperCase()}`], [330, `DOB: ${iso(facts.born)}`])
  line(108, [48, `MRN: ${facts.id}`], [330, `PHONE: ${facts.phone}`])
  line(126, [48, `ORDERED BY: ${facts.doctor} MD`], [330, `ORDER DATE: ${iso(facts.referred)}`])
  line(144, [48, `REFER TO: ${facts.department.toUpperCase()}`], [330, `PRIORITY: ${facts.urgency[1].toUpperCase()}`])
  line(172, [48, `INDICATION: ${facts.reason}`])
  line(190, [48, `DIAGNOSIS: ${facts.diagnosis}`])
  line(208, [48, `ICD-10: ${facts.codes.join(' ')}`])
  line(240, [48, 'ACTIVE MEDICATIONS'])
  facts.drugs.forEach(({ drug, dose, unit, every }, i) =>
    line(258 + i * 16, [58, drug.toUpperCase()], [210, `${dose} ${unit}`], [300, every[0].toUpperCase()]),
  )
  const y = 280 + facts.drugs.length * 16
  line(y, [48, 'LAST RESULTS'])
  facts.labs.forEach(({ name, value, unit, range }, i) => {
    const [low, high] = range.split('-').map(Number)
    const flag =
      high !== undefined && Number(value) > high ? 'H' : high !== undefined && Number(value) < low! ? 'L' : ''
    line(y + 18 + i * 16, [58, name], [210, `${value} ${flag}`.trim()], [290, unit], [390, range])
  })
}

export const THIRD: readonly Layout[] = [
  { name: 'questionnaire', face: 'Times', draw: questionnaire },
  { name: 'modern letter', face: 'Helvetica', draw: modernLetter },
  { name: 'system printout', face: 'Courier', draw: printout },
]
