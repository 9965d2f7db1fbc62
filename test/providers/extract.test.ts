/** The extracting provider as the worker calls it. */
import { afterAll, expect, test } from 'vitest'
import { ExtractOutput } from '../../src/providers/extract/extract-output.js'
import { extract } from '../../src/providers/extract/extract.js'
import { pagesOfText } from '../../src/providers/extract/text-page.js'
import { ReadPage } from '../../src/providers/ocr/read-output.js'
import { bytesInput, jsonInput } from './call-inputs.js'
import { linesPage } from './extract-page.js'
import { callWith } from './samples-fixture.js'

const provider = extract({ slots: 1 }).create('fields', { secret: () => '' })
const never = new AbortController().signal
afterAll(() => provider.close())

test('says of itself that it is free and may run again', () => {
  expect(provider.terms).toMatchObject({ name: 'fields', recovery: 'blind', cost: 'free', spendMax: null })
})

test('answers the fields of the pages in its request', async () => {
  const answer = await provider.call(callWith(null, { pages: [linesPage('Patient name: Ada Brandt')] }), never)
  if (answer.kind !== 'succeeded') throw new Error('code' in answer ? answer.code : answer.kind)
  expect(ExtractOutput.parse(answer.output).fields).toMatchObject([
    { name: 'patientName', value: 'Ada Brandt', page: 1 },
  ])
  expect(answer.spend).toBeNull()
})

test('answers the fields of text that was typed, as its request or as the input of its record', async () => {
  const letter = { text: 'Dear Dr Haddad,\nPatient name: Ada Brandt\nDOB: 1970-03-28\n' }
  for (const request of [callWith(null, letter), { ...callWith(null, undefined), input: jsonInput(letter) }]) {
    const answer = await provider.call(request, never)
    if (answer.kind !== 'succeeded') throw new Error('code' in answer ? answer.code : answer.kind)
    expect(ExtractOutput.parse(answer.output).fields).toMatchObject([
      { name: 'patientName', value: 'Ada Brandt', confidence: 1 },
      { name: 'dateOfBirth', value: '1970-03-28', confidence: 1 },
    ])
  }
})

test('rejects a record whose JSON input is neither, and asks for a request where the input is no JSON', async () => {
  for (const input of [{ txt: 'Ada Brandt' }, null, 'Ada Brandt', { text: 7 }]) {
    const answer = await provider.call({ ...callWith(null, undefined), input: jsonInput(input) }, never)
    expect(answer).toMatchObject({ kind: 'not-executed', code: 'invalid-request', rejects: true })
    expect(JSON.stringify(answer)).not.toContain('Ada')
  }
  const scan = { ...callWith(null, undefined), input: bytesInput('image/png', new Uint8Array(1)) }
  expect(await provider.call(scan, never)).toMatchObject({ code: 'invalid-request', retryable: false })
  const away = { ...jsonInput({}), json: () => Promise.reject(new Error('away')) }
  const later = await provider.call({ ...callWith(null, undefined), input: away }, never)
  expect(later).toMatchObject({ code: 'input-unavailable', retryable: true })
})

test('text becomes pages at form feeds, words keep their columns, and the bounds of a page hold', () => {
  const [first, second, ...rest] = pagesOfText('Name     Ada\tBrandt\r\nDOB\f2')
  expect([rest, second?.n, second?.words.map(({ text }) => text)]).toEqual([[], 2, ['2']])
  expect(first?.words.map(({ text, box }) => [text, box.x0, box.y0])).toEqual([
    ['Name', 0, 0],
    ['Ada', 90, 0],
    ['Brandt', 160, 0],
    ['DOB', 0, 30],
  ])
  const long = pagesOfText(`${'a '.repeat(20_000)}\f${'b'.repeat(2_000)}${'\f'.repeat(50)}`)
  for (const page of [...long, ...pagesOfText('')]) expect(ReadPage.safeParse(page).success).toBe(true)
  expect(long).toHaveLength(20)
})

test('a request of another shape is named, without what is in it', async () => {
  const answer = await provider.call(callWith(null, { pages: [{ n: 'Ada Brandt' }] }), never)
  expect(answer).toMatchObject({ kind: 'not-executed', code: 'invalid-request', retryable: false })
  expect(JSON.stringify(answer)).toContain('pages.0.n')
  expect(JSON.stringify(answer)).not.toContain('Ada')
})

test('an abort settles the call, and the next one is served', async () => {
  const pages = [
    linesPage(...Array.from({ length: 200 }, (_, i) => `Line ${i} says nothing of any use to anybody at all.`)),
  ]
  const abort = new AbortController()
  const running = provider.call(callWith(null, { pages }), abort.signal)
  abort.abort()
  expect(await running).toMatchObject({ kind: 'executed', code: 'aborted', retryable: true })
  const other = extract({ slots: 1 }).create('fields', { secret: () => '' })
  expect((await other.call(callWith(null, { pages: [] }), never)).kind).toBe('succeeded')
  await other.close()
})
