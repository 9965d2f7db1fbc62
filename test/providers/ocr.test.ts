/** The reading provider at its edges: what it refuses, what an abort leaves, what it does with odd but real scans. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { PDFDocument } from 'pdf-lib'
import sharp from 'sharp'
import { afterAll, describe, expect, test } from 'vitest'
import type { CallAnswer } from '../../src/providers/contract.js'
import { ReadOutput } from '../../src/providers/ocr/read-output.js'
import { tesseract } from '../../src/providers/ocr/tesseract.js'
import { noise, seeded } from '../../scripts/raster.js'
import { callWith, sample } from './samples-fixture.js'

const MEGABYTE = 1024 * 1024
const DEADLINE_MS = 60_000
const provider = tesseract({ slots: 1, inputBytesMax: 4 * MEGABYTE }).create('ocr', { secret: () => '' })
const never = new AbortController().signal
const call = (bytes: Uint8Array | null): Promise<CallAnswer> => provider.call(callWith(bytes), never)
const codeOf = (answer: CallAnswer): string =>
  answer.kind === 'succeeded' ? 'succeeded' : `${answer.kind} ${'code' in answer ? answer.code : ''}`
const read = (answer: CallAnswer): ReadOutput => {
  if (answer.kind !== 'succeeded') throw new Error(`Not read: ${codeOf(answer)}`)
  return ReadOutput.parse(answer.output)
}

afterAll(() => provider.close())

test('says of itself that it is free and may run again', () => {
  expect(provider.terms).toMatchObject({ name: 'ocr', recovery: 'blind', cost: 'free', spendMax: null })
  expect(tesseract().slots).toBe(2)
})

describe('a file that can never be read rejects the record', () => {
  const refusals: [string, () => Promise<Uint8Array>, string][] = [
    ['text', async () => Buffer.from('Dear colleague'), 'unreadable-input'],
    ['nothing', async () => new Uint8Array(), 'unreadable-input'],
    ['garbage after the header of a PNG', () => sample('broken.png'), 'unreadable-input'],
    ['a PNG that is cut off', async () => (await sample('referral-clean.png')).subarray(0, 20_000), 'unreadable-input'],
    [
      'a JPEG that is cut off',
      async () => (await sample('referral-skewed.jpg')).subarray(0, 30_000),
      'unreadable-input',
    ],
    ['a PDF that is cut off', async () => Buffer.from('%PDF-1.7\n1 0 obj\n<< /Type /Cat'), 'unreadable-input'],
    [
      'an SVG, which could name other files',
      async () => Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>'),
      'unreadable-input',
    ],
    ['a small PNG of 81 million pixels', hugePng, 'input-too-large'],
    ['a TIFF of 21 pages', () => tiffOf(21), 'input-too-large'],
    ['a PDF of 21 pages', () => pdfOf(21), 'input-too-large'],
    ['more bytes than allowed', async () => new Uint8Array(4 * MEGABYTE + 1), 'input-too-large'],
  ]
  test.each(refusals)('%s', { timeout: DEADLINE_MS }, async (_, make, code) => {
    const answer = await call(await make())
    expect(answer).toMatchObject({ kind: 'executed', code, rejects: true, retryable: false, spend: null })
    expect((answer as { message: string }).message).toMatch(/^[A-Z].*\.$/)
  })
})

test('a PDF page as large as a house is read at the usual size', { timeout: DEADLINE_MS }, async () => {
  const document = await PDFDocument.create()
  document.addPage([14_400, 14_400])
  const { pages } = read(await call(await document.save()))
  expect(pages).toHaveLength(1)
  expect(pages[0]).toMatchObject({ width: 40_000, height: 40_000, words: [], text: '' })
})

test('a picture with orientation in its EXIF is read upright', { timeout: DEADLINE_MS }, async () => {
  const upright = await sharp(await sample('referral-noisy.png'))
    .jpeg()
    .toBuffer({ resolveWithObject: true })
  // Stored lying on its left side; orientation 6 says: turn it by 90 degrees clockwise to look at it.
  const lying = await sharp(upright.data).rotate(-90).withMetadata({ orientation: 6 }).jpeg().toBuffer()
  const [page] = read(await call(lying)).pages
  expect(page).toMatchObject({ width: upright.info.width, height: upright.info.height })
  expect(page!.text).toContain('Linda Castellano')
})

test('nothing is read out of noise', { timeout: DEADLINE_MS }, async () => {
  const paper = { width: 900, height: 1_200, data: new Uint8Array(900 * 1_200).fill(240) }
  const dirty = noise(paper, seeded(3), { grain: 30, specks: 0.02 })
  const bytes = await sharp(dirty.data, { raw: { width: 900, height: 1_200, channels: 1 } })
    .png()
    .toBuffer()
  expect(read(await call(bytes)).text).toBe('')
})

test('pages of both kinds of PDF come in order, with where their text is from', { timeout: DEADLINE_MS }, async () => {
  const scanned = read(await call(await sample('referral-two-pages.pdf')))
  expect(scanned.pages.map(({ n, origin }) => [n, origin])).toEqual([
    [1, 'ocr'],
    [2, 'ocr'],
  ])
  const typed = read(await call(await sample('referral-typed.pdf')))
  expect(typed.pages.map(({ n, origin }) => [n, origin])).toEqual([[1, 'text-layer']])
  expect(typed.pages[0]!.words.every((word) => word.confidence === 100)).toBe(true)
})

test('storage that is away is no fault of the file', async () => {
  expect(await call(null)).toMatchObject({ kind: 'not-executed', code: 'input-unavailable', retryable: true })
})

test(
  'an abort settles the call at once, and the next call is served by a fresh thread',
  { timeout: DEADLINE_MS },
  async () => {
    const abort = new AbortController()
    const bytes = await sample('referral-clean.png')
    const running = provider.call(callWith(bytes), abort.signal)
    const second = await provider.call(callWith(bytes), never)
    // The only slot is taken by a call that is at work.
    expect(second).toMatchObject({ kind: 'not-executed', code: 'busy', retryable: true })
    const abortedAt = performance.now()
    abort.abort()
    expect(await running).toMatchObject({ kind: 'executed', code: 'aborted', retryable: true })
    expect(performance.now() - abortedAt).toBeLessThan(1_000)
    expect(await provider.call(callWith(bytes), abort.signal)).toMatchObject({
      kind: 'not-executed',
      code: 'not-started',
    })
    let answer = await provider.call(callWith(await sample('broken.png')), never)
    while (answer.kind === 'not-executed') answer = await provider.call(callWith(await sample('broken.png')), never)
    expect(codeOf(answer)).toBe('executed unreadable-input')
  },
)

test('after an abort in mid-recognition and close, the process ends by itself', { timeout: DEADLINE_MS }, async () => {
  const script = join(import.meta.dirname, 'ocr-abort-child.ts')
  const child = spawn(process.execPath, ['--import', 'jiti/register', script], { stdio: ['ignore', 'pipe', 'inherit'] })
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  const [code] = (await once(child, 'exit')) as [number | null]
  expect(out.trim()).toBe('aborted closed')
  expect(code).toBe(0)
})

test('a closed provider starts nothing any more', async () => {
  const other = tesseract({ slots: 1 }).create('ocr', { secret: () => '' })
  await other.close()
  const answer = await other.call(callWith(await sample('blank.png')), never)
  expect(answer).toMatchObject({ kind: 'not-executed', code: 'closed' })
})

/** Some 100 KB that decode to 81 million pixels. */
const hugePng = (): Promise<Uint8Array> =>
  sharp({ create: { width: 9_000, height: 9_000, channels: 3, background: 'white' }, limitInputPixels: false })
    .png({ palette: true, colours: 2 })
    .toBuffer()

async function tiffOf(pages: number): Promise<Uint8Array> {
  const page = await sharp({ create: { width: 20, height: 20, channels: 3, background: 'white' } })
    .png()
    .toBuffer()
  return sharp(
    Array.from({ length: pages }, () => page),
    { join: { animated: true } },
  )
    .tiff()
    .toBuffer()
}

async function pdfOf(pages: number): Promise<Uint8Array> {
  const document = await PDFDocument.create()
  for (let i = 0; i < pages; i++) document.addPage([100, 100])
  return document.save()
}
