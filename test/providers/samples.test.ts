/** Every sample through the real engines, held against what is written in samples/expected.json. */
import { afterAll, describe, expect, test } from 'vitest'
import expected from '../../samples/expected.json' with { type: 'json' }
import { ExtractOutput, FIELD_NAMES, type Field } from '../../src/providers/extract/extract-output.js'
import { extract } from '../../src/providers/extract/extract.js'
import { ReadOutput } from '../../src/providers/ocr/read-output.js'
import { tesseract } from '../../src/providers/ocr/tesseract.js'
import { callWith, sample } from './samples-fixture.js'

const ocr = tesseract({ slots: 1 }).create('ocr', { secret: () => '' })
const fields = extract({ slots: 1 }).create('fields', { secret: () => '' })
const signal = new AbortController().signal
const DEADLINE_MS = 60_000

afterAll(async () => {
  await ocr.close()
  await fields.close()
})

const read = async (name: string): Promise<ReadOutput> => {
  const answer = await ocr.call(callWith(await sample(name)), signal)
  if (answer.kind !== 'succeeded')
    throw new Error(`${name} was not read: ${'code' in answer ? answer.code : answer.kind}`)
  return ReadOutput.parse(answer.output)
}

const find = async ({ pages }: ReadOutput): Promise<Field[]> => {
  const answer = await fields.call(callWith(null, { pages }), signal)
  if (answer.kind !== 'succeeded')
    throw new Error(`Nothing was extracted: ${'code' in answer ? answer.code : answer.kind}`)
  return ExtractOutput.parse(answer.output).fields
}

/** `name value` of each field, so that two lists can be compared as sets. */
const lines = (name: string, values: unknown): string[] => {
  const list = values === undefined ? [] : Array.isArray(values) ? values : [values]
  return list.map((value: unknown) => `${name} ${typeof value === 'string' ? value : JSON.stringify(value)}`)
}

const share = { found: 0, wanted: 0 }

describe.each(Object.entries(expected))('%s', (name, wanted) => {
  test('gives the fields that stand on it', { timeout: DEADLINE_MS }, async () => {
    const document = await read(name)
    const got = await find(document)
    const gotLines = FIELD_NAMES.flatMap((field) =>
      lines(
        field,
        got.filter((one) => one.name === field).map((one) => one.value),
      ),
    )
    const wantedLines = FIELD_NAMES.flatMap((field) => lines(field, (wanted as { [field: string]: unknown })[field]))
    const missing = wantedLines.filter((line) => !gotLines.includes(line))
    const invented = gotLines.filter((line) => !wantedLines.includes(line))
    share.found += wantedLines.length - missing.length
    share.wanted += wantedLines.length
    // Recognition differs a little between processors: one misread lab value in a document is allowed, nothing else.
    expect(
      missing.filter((line) => !line.startsWith('labValue')),
      `missing; got ${gotLines.join(' | ')}`,
    ).toEqual([])
    expect(invented.filter((line) => !line.startsWith('labValue'))).toEqual([])
    expect(missing.length).toBeLessThanOrEqual(1)
    expect(invented.length).toBe(missing.length)
    for (const field of got) {
      const page = document.pages[field.page - 1]!
      expect(field.confidence).toBeGreaterThan(0)
      expect(field.raw).not.toBe('')
      expect(field.box.x0).toBeGreaterThanOrEqual(0)
      expect(field.box.x1).toBeLessThanOrEqual(page.width + 1)
      expect(field.box.y0).toBeLessThan(field.box.y1)
      expect(field.box.y1).toBeLessThanOrEqual(page.height + 1)
    }
  })
})

test('nearly everything on all samples together is right', () => {
  expect(share.wanted).toBeGreaterThan(80)
  expect(share.found / share.wanted).toBeGreaterThan(0.97)
})

test('the blank page has no words and no text', { timeout: DEADLINE_MS }, async () => {
  const document = await read('blank.png')
  expect(document.text).toBe('')
  expect(document.pages.map((page) => page.words)).toEqual([[]])
})

test(
  'the skewed page says how far it is tilted, and its boxes lie on the page as it is',
  { timeout: DEADLINE_MS },
  async () => {
    const document = await read('referral-skewed.jpg')
    const page = document.pages[0]!
    expect(page.rotation).toBeCloseTo(3.2, 0)
    // Turned clockwise about the middle: of two words in one row of the form the right one lies lower on the page.
    const left = page.words.find((word) => word.text === 'Referred')!
    const right = page.words.find((word) => word.text === 'Specialty')!
    expect(right.box.y0 - left.box.y0).toBeGreaterThan(15)
  },
)
