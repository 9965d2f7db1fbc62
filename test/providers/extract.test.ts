/** The extracting provider as the worker calls it. */
import { afterAll, expect, test } from 'vitest'
import { ExtractOutput } from '../../src/providers/extract/extract-output.js'
import { extract } from '../../src/providers/extract/extract.js'
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
  if (answer.kind !== 'succeeded') throw new Error(answer.code)
  expect(ExtractOutput.parse(answer.output).fields).toMatchObject([
    { name: 'patientName', value: 'Ada Brandt', page: 1 },
  ])
  expect(answer.spend).toBeNull()
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
