/** Extraction as a pure function: layouts, wordings, formats, and input that means nothing. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { codesIn } from '../../src/providers/extract/codes.js'
import { datesIn, dayOrderOf } from '../../src/providers/extract/dates.js'
import { extractFields } from '../../src/providers/extract/extract-fields.js'
import { ExtractOutput, FIELDS_MAX, type FieldName } from '../../src/providers/extract/extract-output.js'
import type { ReadPage } from '../../src/providers/ocr/read-output.js'
import { linesPage, pageOf } from './extract-page.js'

const valuesOf = (page: ReadPage, name: FieldName): unknown[] =>
  extractFields([page])
    .filter((field) => field.name === name)
    .map((field) => field.value)

describe('a value is found', () => {
  test('after its label', () => {
    expect(valuesOf(linesPage('Patient name: Ada Brandt', 'DOB: 03/28/1970'), 'patientName')).toEqual(['Ada Brandt'])
  })

  test('in the cell to the right of its label', () => {
    expect(
      valuesOf(
        pageOf([
          [100, 100, 'Name of patient'],
          [500, 100, 'Ada Brandt'],
        ]),
        'patientName',
      ),
    ).toEqual(['Ada Brandt'])
  })

  test('below its label, and not below the neighbour', () => {
    const page = pageOf([
      [100, 100, 'Patient name'],
      [500, 100, 'Referring physician'],
      [100, 130, 'Ada Brandt'],
      [500, 130, 'Dr. Omar Haddad'],
    ])
    expect(valuesOf(page, 'patientName')).toEqual(['Ada Brandt'])
    expect(valuesOf(page, 'referringPhysician')).toEqual(['Omar Haddad'])
  })

  test('in two boxes, one for each part of the name', () => {
    expect(valuesOf(linesPage('Surname: Brandt', 'First name: Ada'), 'patientName')).toEqual(['Ada Brandt'])
  })

  test('under a heading that says whose name it is', () => {
    const page = linesPage(
      'Patient details',
      'Name: Ada Brandt',
      'Phone: 555-201-3344',
      'Referrer details',
      'Name: Omar Haddad',
      'Phone: 555-999-0000',
    )
    expect(valuesOf(page, 'patientName')).toEqual(['Ada Brandt'])
    expect(valuesOf(page, 'referringPhysician')).toEqual(['Omar Haddad'])
    expect(valuesOf(page, 'phone')).toEqual(['5552013344'])
  })

  test('behind a label with a misread letter', () => {
    expect(valuesOf(linesPage('Referrlng physiclan: Dr. Omar Haddad'), 'referringPhysician')).toEqual(['Omar Haddad'])
  })

  test('on a tilted page, in the right row', () => {
    const tilted = pageOf([
      [100, 100, 'Patient name:'],
      [1_700, 100, 'Ada Brandt'],
      [1_700, 145, 'Eve Other'],
    ])
    const radians = (3 * Math.PI) / 180
    const words = tilted.words.map((word) => {
      const dx = (word.box.x0 + word.box.x1) / 2 - 1_000
      const dy = (word.box.y0 + word.box.y1) / 2 - 1_400
      const x = 1_000 + dx * Math.cos(radians) - dy * Math.sin(radians)
      const y = 1_400 + dx * Math.sin(radians) + dy * Math.cos(radians)
      const half = (word.box.x1 - word.box.x0) / 2
      return { ...word, box: { x0: x - half, x1: x + half, y0: y - 9, y1: y + 9 } }
    })
    expect(valuesOf({ ...tilted, rotation: 3, words }, 'patientName')).toEqual(['Ada Brandt'])
  })
})

test('the more particular label wins', () => {
  const page = linesPage('Date: 2024-01-01', 'Date of referral: 2024-02-02')
  expect(valuesOf(page, 'referralDate')).toEqual(['2024-02-02'])
})

test.each([
  ['BRANDT, Ada', 'Ada Brandt'],
  ["Mrs. Mary O'BRIEN", "Mary O'Brien"],
  ['Dr. Jan van der Berg, MD', 'Jan van der Berg'],
  ['Anne-Marie Dupont (female)', 'Anne-Marie Dupont'],
])('the name %s', (written, name) => {
  expect(valuesOf(linesPage(`Patient: ${written}`), 'patientName')).toEqual([name])
})

test.each([
  ['1958-03-14', '1958-03-14'],
  ['14.03.1958', '1958-03-14'],
  ['03/28/1958', '1958-03-28'],
  ['28/03/1958', '1958-03-28'],
  ['March 14, 1958', '1958-03-14'],
  ['14th of March 1958', '1958-03-14'],
  ['14-Mar-58', '1958-03-14'],
  ['1O/12/1958', '1958-10-12'],
])('the date %s', (written, iso) => {
  expect(datesIn(written, 'month-first').map((date) => date.iso)).toEqual([iso])
})

test('dates that are in no calendar are none', () => {
  expect(datesIn('31.02.2024, 45/45/2024, 2024-13-01, 120/80', 'month-first')).toEqual([])
})

test('one date that can only be read day first settles the others', () => {
  expect(dayOrderOf('02/03/2024 and 25/12/2023')).toBe('day-first')
  expect(dayOrderOf('02/03/2024 and 12/25/2023')).toBe('month-first')
  expect(valuesOf(linesPage('DOB: 02/03/1960', 'Referral date: 25/12/2023'), 'dateOfBirth')).toEqual(['1960-03-02'])
})

describe('ICD-10 codes', () => {
  const strip = (text: string) => ({ text, tokens: [], starts: [] })

  test('after their label, misread letters are put right', () => {
    const codes = codesIn(strip('120.9, 110; E1l.65 and G40.909'), true)
    expect(codes.map((code) => code.value)).toEqual(['I20.9', 'I10', 'E11.65', 'G40.909'])
    expect(codes.map((code) => code.mended)).toEqual([true, true, true, false])
  })

  test('elsewhere nothing doubtful is taken', () => {
    expect(codesIn(strip('B12 was low, T4 normal, dose 120.9, room A10'), false)).toEqual([])
    expect(codesIn(strip('asthma (J45, I10) and I48.0'), false).map((code) => code.value)).toEqual([
      'J45',
      'I10',
      'I48.0',
    ])
  })
})

test.each([
  ['Metformin 500 mg BID', { drug: 'Metformin', dose: '500', unit: 'mg', frequency: 'twice daily' }],
  ['- Lisinopril 10mg PO daily', { drug: 'Lisinopril', dose: '10', unit: 'mg', frequency: 'once daily' }],
  ['3. Ramipril 2,5 mg tablets at night', { drug: 'Ramipril', dose: '2.5', unit: 'mg', frequency: 'at night' }],
  ['Levothyroxine 75 µg 1-0-0', { drug: 'Levothyroxine', dose: '75', unit: 'mcg', frequency: '1-0-0' }],
  ['Ibuprofen 400 mg every 8 hours', { drug: 'Ibuprofen', dose: '400', unit: 'mg', frequency: 'every 8 hours' }],
])('the medication %s', (line, value) => {
  expect(valuesOf(linesPage('Medications:', line), 'medication')).toEqual([value])
})

test.each([
  [
    'Hemoglobin 13.2 g/dL (12.0 - 16.0)',
    { name: 'Hemoglobin', value: '13.2', unit: 'g/dL', referenceRange: '12.0-16.0' },
  ],
  [
    'LDL cholesterol: 161 mg/dL < 130',
    { name: 'LDL cholesterol', value: '161', unit: 'mg/dL', referenceRange: '<130' },
  ],
  ['WBC 7.7 10^9/L 4.0-11.0', { name: 'WBC', value: '7.7', unit: '10^9/L', referenceRange: '4.0-11.0' }],
  ['HbAlc of 9.1 %', { name: 'HbA1c', value: '9.1', unit: '%', referenceRange: null }],
])('the lab value %s', (line, value) => {
  expect(valuesOf(linesPage(line), 'labValue')).toEqual([value])
})

test('a lab value is no medication, and a dose is no lab value', () => {
  const page = linesPage('Glucose 110 mg/dL', 'Prednisolone 5 mg once daily')
  expect(valuesOf(page, 'medication')).toEqual([
    { drug: 'Prednisolone', dose: '5', unit: 'mg', frequency: 'once daily' },
  ])
  expect(valuesOf(page, 'labValue')).toHaveLength(1)
})

test('the number of the letterhead is not the patient’s', () => {
  const page = linesPage(
    'Northgate Clinic',
    'Tel: 555-000-1111',
    '14 Mill Lane',
    'REFERRAL',
    'Patient: Ada Brandt',
    'Mobile: 555-201-3344',
  )
  expect(valuesOf(page, 'phone')).toEqual(['5552013344'])
})

test('a ticked box says how urgent it is', () => {
  expect(valuesOf(linesPage('Urgency: [ ] Routine [x] Urgent'), 'urgency')).toEqual(['urgent'])
  expect(valuesOf(linesPage('Priority: Non-urgent'), 'urgency')).toEqual(['routine'])
})

test('a value is as sure as its weakest word', () => {
  const page = linesPage('Patient name: Ada Brandt')
  const words = page.words.map((word) => (word.text === 'Brandt' ? { ...word, confidence: 41 } : word))
  expect(extractFields([{ ...page, words }])[0]).toMatchObject({
    name: 'patientName',
    confidence: 0.41,
    raw: 'Ada Brandt',
  })
})

test('a blank page has no fields', () => {
  expect(extractFields([])).toEqual([])
  expect(extractFields([pageOf([])])).toEqual([])
})

test('running text without a referral gives no fields', () => {
  const page = linesPage(
    'The weather in the mountains was fine and we went out early.',
    'Nobody had thought of rain until it came down at noon.',
  )
  expect(extractFields([page])).toEqual([])
})

describe('whatever the words, an answer comes that keeps its schema', () => {
  const piece = fc.oneof(
    fc.constantFrom(
      'Patient',
      'name:',
      'DOB:',
      'Date',
      'ICD-10:',
      '5',
      'mg',
      'Hemoglobin',
      '13.2',
      'Dr.',
      'Re:',
      '(',
      '-',
      ':',
      '1-1-1-1',
      'Phone',
      '+1',
      '12/',
      '|',
      'E11.9',
      'daily',
    ),
    fc.string({ minLength: 1, maxLength: 12 }).map((text) => text.replace(/\s/g, '_')),
  )
  const word = fc.record({ text: piece, x: fc.integer({ min: 0, max: 1_900 }), y: fc.integer({ min: 0, max: 2_700 }) })

  test('any words anywhere', () => {
    fc.assert(
      fc.property(fc.array(word, { maxLength: 120 }), (words) => {
        const page = pageOf(words.map(({ text, x, y }) => [x, y, text]))
        const fields = extractFields([page])
        ExtractOutput.parse({ fields })
        expect(extractFields([page])).toEqual(fields)
      }),
      { numRuns: 150 },
    )
  })

  test('a page packed with what patterns look for takes no more than seconds', () => {
    const heavy = ['1-1-1-1-1-1', '5 mg', 'Hemoglobin 1', '((((', 'Date', '+1 222 333', 'E11.9', 'name:']
    const page = pageOf(
      Array.from({ length: 2_500 }, (_, i) => [(i % 10) * 190, Math.floor(i / 10) * 11, heavy[i % heavy.length]!]),
    )
    const startedAt = performance.now()
    expect(extractFields([page]).length).toBeLessThanOrEqual(FIELDS_MAX)
    expect(performance.now() - startedAt).toBeLessThan(8_000)
  })
})
