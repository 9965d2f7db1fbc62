/** What the sample referrals say and how they are laid out. All people, numbers and addresses are invented. */
import type { Pen } from './raster.js'

type Row = readonly string[]

const table = (pen: Pen, x: readonly number[], y: number, rows: readonly Row[]): void => {
  rows.forEach((row, r) => row.forEach((cell, c) => pen.text(x[c]!, y + r * 17, cell, { bold: r === 0 })))
  pen.line(x[0]!, y + 5, 545, y + 5)
}

/** Labels left of their values, in two columns, then two tables. */
export const formPage = (pen: Pen): void => {
  pen.text(50, 60, 'Northgate Medical Practice', { size: 17, bold: true })
  pen.text(50, 78, '14 Mill Lane, Ashford', { size: 9.5 })
  pen.text(50, 112, 'REFERRAL FORM', { size: 14, bold: true })
  const left: Row[] = [
    ['Patient name:', 'Margaret Holloway'],
    ['Date of birth:', '1958-03-14'],
    ['MRN:', 'NG-204718'],
    ['Phone:', '(555) 201-4478'],
  ]
  const right: Row[] = [
    ['Referral date:', '2024-05-21'],
    ['Referring physician:', 'Dr. Samuel Okafor'],
    ['Department:', 'Cardiology'],
    ['Urgency:', 'Urgent'],
  ]
  left.forEach(([label, value], i) => {
    pen.text(50, 145 + i * 20, label!, { bold: true })
    pen.text(135, 145 + i * 20, value!)
  })
  right.forEach(([label, value], i) => {
    pen.text(310, 145 + i * 20, label!, { bold: true })
    pen.text(430, 145 + i * 20, value!)
  })
  pen.text(50, 250, 'Reason for referral:', { bold: true })
  pen.text(50, 267, 'Exertional chest pain for six weeks, relieved by rest. Known hypertension.')
  pen.text(50, 284, 'Please assess for coronary artery disease.')
  pen.text(50, 316, 'ICD-10:', { bold: true })
  pen.text(110, 316, 'I20.9, I10')
  pen.text(50, 352, 'Medications', { size: 12, bold: true })
  table(pen, [50, 210, 310], 372, [
    ['Drug', 'Dose', 'Frequency'],
    ['Amlodipine', '5 mg', 'once daily'],
    ['Atorvastatin', '20 mg', 'at night'],
    ['Aspirin', '75 mg', 'once daily'],
  ])
  pen.text(50, 465, 'Laboratory results', { size: 12, bold: true })
  table(pen, [50, 210, 290, 400], 485, [
    ['Test', 'Result', 'Unit', 'Reference range'],
    ['Hemoglobin', '13.2', 'g/dL', '12.0 - 16.0'],
    ['Creatinine', '0.9', 'mg/dL', '0.6 - 1.1'],
    ['LDL cholesterol', '161', 'mg/dL', '< 130'],
    ['Potassium', '4.3', 'mmol/L', '3.5 - 5.1'],
  ])
}

/** A grid of boxes with small labels above the values. */
export const gridPage = (pen: Pen): void => {
  pen.text(50, 58, 'Request for Specialist Consultation', { size: 16, bold: true, face: 'Times' })
  const cell = (x: number, y: number, width: number, label: string, value: string): void => {
    pen.box(x, y, width, 38)
    pen.text(x + 5, y + 12, label, { size: 8 })
    pen.text(x + 5, y + 29, value, { size: 11.5 })
  }
  cell(50, 80, 250, 'Name of patient', 'PETERSEN, Jonas')
  cell(300, 80, 125, 'DOB', '02.11.1971')
  cell(425, 80, 125, 'Patient ID', '88412-07')
  cell(50, 118, 250, 'Telephone', '+44 20 7946 0812')
  cell(300, 118, 125, 'Date of referral', '17.06.2024')
  cell(425, 118, 125, 'Priority', 'Routine')
  cell(50, 156, 250, 'Referred by', 'Dr. Helen Marsh')
  cell(300, 156, 250, 'Specialty', 'Endocrinology')
  pen.text(50, 225, 'Diagnosis', { size: 12, bold: true })
  pen.text(50, 243, 'Type 2 diabetes mellitus with poor control (E11.65)', { size: 11 })
  pen.text(50, 280, 'Current medication', { size: 12, bold: true })
  pen.text(60, 298, '1. Metformin 1000 mg twice daily', { size: 11 })
  pen.text(60, 315, '2. Gliclazide 80 mg once daily', { size: 11 })
  pen.text(60, 332, '3. Ramipril 2.5 mg once daily', { size: 11 })
  pen.text(50, 369, 'Lab values', { size: 12, bold: true })
  pen.text(60, 387, 'HbA1c 9.1 % (4.0 - 5.6)', { size: 11 })
  pen.text(60, 404, 'Fasting glucose 11.4 mmol/L (3.9 - 5.5)', { size: 11 })
  pen.text(60, 421, 'TSH 2.1 mIU/L (0.4 - 4.0)', { size: 11 })
}

/** One label and value on each line. */
export const listPage = (pen: Pen): void => {
  pen.text(60, 70, 'PATIENT REFERRAL', { size: 16, bold: true })
  const lines = [
    'Date: 03/28/2024',
    'To: Department of Neurology',
    'Patient: Linda Castellano',
    'Born: 07/19/1983',
    'Record No.: 5530194',
    'Tel.: 555-318-2290',
    'Requesting doctor: Dr. Rajesh Patel',
    'Urgency: emergency',
    'Reason: New onset seizures, two episodes in one week',
    'ICD-10 code: G40.909',
  ]
  lines.forEach((line, i) => pen.text(60, 110 + i * 24, line, { size: 12.5 }))
  pen.text(60, 375, 'Medications:', { size: 12.5, bold: true })
  pen.text(60, 399, 'Levetiracetam 500 mg twice daily', { size: 12.5 })
  pen.text(60, 423, 'Sertraline 50 mg once daily', { size: 12.5 })
  pen.text(60, 460, 'Labs:', { size: 12.5, bold: true })
  pen.text(60, 484, 'Sodium 138 mmol/L (135 - 145)', { size: 12.5 })
  pen.text(60, 508, 'Calcium 9.4 mg/dL (8.5 - 10.5)', { size: 12.5 })
}

const paragraphs = (pen: Pen, y: number, lines: readonly string[], face: 'Times' | 'Helvetica' = 'Times'): void =>
  lines.forEach((line, i) => pen.text(60, y + i * 18, line, { size: 12, face }))

/** A letter in running text. */
export const letterPage = (pen: Pen): void => {
  paragraphs(pen, 70, [
    'Riverside Family Clinic',
    '220 Harbour Road, Millport',
    '',
    '12 February 2024',
    '',
    'Dear Gastroenterology team,',
    '',
    'Re: Mr. Thomas Bergmann, date of birth 5 September 1966, MRN RC-77120',
    'Phone 555 640 1187',
    '',
    'Thank you for seeing this patient, whom I am referring for evaluation of',
    'chronic abdominal pain with weight loss (R10.9, R63.4). This is an urgent referral.',
    '',
    'He takes omeprazole 40 mg once daily and metoprolol 50 mg twice daily.',
    'His blood results are on the next page.',
    '',
    'Yours sincerely,',
    '',
    'Dr. Carolyn Whitfield',
    'General practitioner',
  ])
}

/** The second page of the letter: blood results only. */
export const resultsPage = (pen: Pen): void => {
  pen.text(60, 70, 'Blood results - page 2 of 2', { size: 13, bold: true, face: 'Times' })
  const x = [60, 220, 300, 410]
  table(pen, x, 105, [
    ['Analyte', 'Value', 'Units', 'Normal range'],
    ['Hemoglobin', '10.8', 'g/dL', '13.5 - 17.5'],
    ['Ferritin', '11', 'ng/mL', '24 - 336'],
    ['ALT', '32', 'U/L', '7 - 56'],
    ['CRP', '18.5', 'mg/L', '0 - 5'],
  ])
}
