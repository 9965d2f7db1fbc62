/** The mistakes that reading engines really make are found; what stands on real paper is let through. */
import { describe, expect, it } from 'vitest'
import expected from '../../samples/expected.json' with { type: 'json' }
import type { ExtractOutput, Field, LabValue } from '../../src/providers/extract/extract-output.js'
import { checkPlausible } from '../../src/providers/plausible/check-plausible.js'
import { plausible } from '../../src/providers/plausible/plausible.js'
import { StepRefused } from '../../src/providers/compute/refused.js'

const place = { raw: 'as read', confidence: 0.9, page: 2, box: { x0: 10.4, y0: 20, x1: 30, y1: 40.6 } }
const lab = (name: string, value: string, unit: string | null, referenceRange: string | null): Field => ({
  name: 'labValue',
  value: { name, value, unit, referenceRange } satisfies LabValue,
  ...place,
})
const dose = (amount: string, unit: string): Field => ({
  name: 'medication',
  value: { drug: 'Aspirin', dose: amount, unit, frequency: null },
  ...place,
})
const text = (name: 'dateOfBirth' | 'referralDate', value: string): Field => ({ name, value, ...place })
const rulesOf = (...fields: Field[]) => checkPlausible({ fields }).map(({ rule }) => rule)

describe('a lost decimal point', () => {
  it.each([
    ['in a value, by what a person can have', lab('Calcium', '84', 'mg/dL', '8.5-10.5'), 'lab-limits'],
    ['in a value, by the range beside it', lab('Zinc', '84', 'umol/L', '7.5-12.0'), 'lab-lost-point'],
    ['in a range, by its zero', lab('Creatinine', '0.9', 'mg/dL', '06-11'), 'lab-range'],
    ['in a range, by the value beside it', lab('Magnesium', '4.3', null, '35-51'), 'lab-lost-point'],
    ['in one bound of a range', lab('Hemoglobin', '13.2', 'g/dL', '120-16.0'), 'lab-range'],
  ])('%s', (_, field, rule) => {
    expect(rulesOf(field)).toEqual([rule])
  })
})

describe('doses and dates', () => {
  it.each([
    ['a dose of grams read as kilograms', [dose('75000', 'mg')], 'dose-limits'],
    ['a dose of nothing', [dose('0', 'mg')], 'dose-limits'],
    [
      'a birth after the referral',
      [text('dateOfBirth', '2024-05-22'), text('referralDate', '2024-05-21')],
      'date-order',
    ],
    ['a birth two lives ago', [text('dateOfBirth', '1858-03-14'), text('referralDate', '2024-05-21')], 'date-age'],
  ])('%s', (_, fields, rule) => {
    expect(rulesOf(...fields)).toEqual([rule])
  })
})

describe('what is plausible', () => {
  it.each([
    ['very ill', lab('CRP', '185', 'mg/L', '0-5')],
    ['far above a range of whole numbers', lab('Ferritin', '3400', 'ng/mL', '24-336')],
    ['tenfold without a range', lab('Zinc', '84', 'umol/L', null)],
    ['an unknown unit', lab('Calcium', '84', 'foo/dL', null)],
    ['an open range', lab('LDL cholesterol', '161', 'mg/dL', '<130')],
    ['a dose of two numbers', dose('875/125', 'mg')],
    ['a birth without a referral', text('dateOfBirth', '1858-03-14')],
  ])('%s', (_, field) => {
    expect(rulesOf(field)).toEqual([])
  })

  it('is all that stands on the samples', () => {
    for (const sample of Object.values(expected) as {
      labValue?: LabValue[]
      dateOfBirth?: string
      referralDate?: string
    }[]) {
      const fields = [
        ...(sample.labValue ?? []).map((value): Field => ({ name: 'labValue', value, ...place })),
        ...(sample.dateOfBirth ? [text('dateOfBirth', sample.dateOfBirth)] : []),
        ...(sample.referralDate ? [text('referralDate', sample.referralDate)] : []),
      ]
      expect(rulesOf(...fields)).toEqual([])
      expect(plausible({ fields })).toEqual({ checked: fields.length })
    }
  })
})

describe('what is said', () => {
  const refused = (output: ExtractOutput): StepRefused => {
    try {
      plausible(output)
    } catch (error) {
      if (error instanceof StepRefused) return error
    }
    throw new Error('It was found plausible.')
  }

  it('names field, page, place and rule, and nothing that stands there', () => {
    const fields = [lab('CRP', '5', 'mg/L', null), lab('Calcium', '84', 'mg/dL', '8.5-10.5')]
    const { code, message, evidence } = refused({ fields })
    expect(code).toBe('implausible')
    expect(message).toBe(
      'labValue 2 on page 2 at 10,20,30,41: outside what a living person can have in that unit (lab-limits).',
    )
    expect(evidence).toEqual({
      field: 'labValue',
      nth: 2,
      rule: 'lab-limits',
      page: 2,
      box: '10,20,30,41',
      findings: 1,
    })
    expect(`${message} ${JSON.stringify(evidence)}`).not.toMatch(/84|Calcium|as read/)
  })

  it('is bounded, however much is wrong', () => {
    const { message } = refused({ fields: Array.from({ length: 50 }, () => lab('Calcium', '84', 'mg/dL', null)) })
    expect(message).toContain('and 48 more.')
    expect(message.length).toBeLessThanOrEqual(300)
  })
})
