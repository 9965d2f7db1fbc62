/**
 * Measures reading and extraction on documents drawn for it, and writes docs/accuracy.md:
 *   node --import jiti/register scripts/accuracy/run.ts
 * `--family first --misses` measures that family alone, writes nothing, and says what went wrong. There is no such
 * look into the held-out family: `--misses` is refused for it.
 */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { CallRequest } from '../../src/providers/contract.js'
import { ExtractOutput } from '../../src/providers/extract/extract-output.js'
import { extract } from '../../src/providers/extract/extract.js'
import { ReadOutput } from '../../src/providers/ocr/read-output.js'
import { tesseract } from '../../src/providers/ocr/tesseract.js'
import { blur, drawPdf, noise, picture, rasterise, seeded, skew, type Grey } from '../raster.js'
import { drawCase } from './case.js'
import { FIRST } from './layouts-first.js'
import { SECOND } from './layouts-second.js'
import { THIRD } from './layouts-third.js'
import type { Layout } from './layout.js'
import { report, type Family } from './report.js'
import { emptyScore, judge } from './score.js'

const FAMILIES: { [name: string]: { layouts: readonly Layout[]; seed: number } } = {
  'held-out': { layouts: THIRD, seed: 500_000 },
  second: { layouts: SECOND, seed: 90_000 },
  first: { layouts: FIRST, seed: 1_000 },
}
const CASES_PER_LAYOUT = 4
const CALL_MS_MAX = 120_000

type Damage = (page: Grey, random: () => number) => Promise<Buffer>
const DAMAGES: { [name: string]: { dotsPerInch: number; apply: Damage } } = {
  clean: { dotsPerInch: 200, apply: (page) => picture(page).png().toBuffer() },
  skewed: {
    dotsPerInch: 200,
    apply: async (page, random) => {
      const degrees = (1 + random() * 4) * (random() < 0.5 ? -1 : 1)
      return picture(await skew(page, degrees))
        .jpeg({ quality: 70 })
        .toBuffer()
    },
  },
  noisy: {
    dotsPerInch: 150,
    apply: async (page, random) => {
      const soft = await blur(page, 0.4 + random() * 0.4)
      return picture(
        noise(soft, random, { grain: 10 + random() * 10, specks: random() * 0.006, fade: 0.1 + random() * 0.2 }),
      )
        .png()
        .toBuffer()
    },
  },
}

const { values } = parseArgs({ options: { family: { type: 'string' }, misses: { type: 'boolean', default: false } } })
if (values.misses && (values.family ?? 'held-out') === 'held-out')
  throw new Error('--misses needs --family first or second: the third is held out.')
const families = values.family ? [values.family] : Object.keys(FAMILIES)

const ocr = tesseract({ slots: 1 }).create('ocr', { secret: () => '' })
const fields = extract({ slots: 1 }).create('extract', { secret: () => '' })
const measured: Family[] = []
try {
  for (const family of families) measured.push(await measure(family))
} finally {
  await ocr.close()
  await fields.close()
}
const text = await report(measured)
if (values.family) console.log(text)
else await writeFile(join(import.meta.dirname, '..', '..', 'docs', 'accuracy.md'), text)

async function measure(name: string): Promise<Family> {
  const family = FAMILIES[name]
  if (!family) throw new Error(`No family "${name}": ${Object.keys(FAMILIES).join(', ')}.`)
  const result: Family = {
    name,
    documents: 0,
    layouts: family.layouts.map((layout) => layout.name),
    byDamage: {},
    judged: [],
  }
  for (const [damage, { dotsPerInch, apply }] of Object.entries(DAMAGES)) {
    const score = (result.byDamage[damage] = emptyScore())
    for (const [l, layout] of family.layouts.entries()) {
      for (let i = 0; i < CASES_PER_LAYOUT; i++) {
        // Each damage gets its own cases: more different documents at the same price.
        const seed = family.seed + l * 100 + i * 10 + Object.keys(DAMAGES).indexOf(damage)
        const facts = drawCase(seed)
        const pdf = await drawPdf([(pen) => layout.draw(pen, facts)], layout.face)
        const [page] = await rasterise(pdf, dotsPerInch)
        const found = await fieldsOf(await apply(page!, seeded(seed + 7)))
        const { judged, misses } = judge(found, facts, score)
        result.judged.push(...judged)
        result.documents++
        if (values.misses) for (const miss of misses) console.log(`${layout.name}, ${damage}, ${seed}: ${miss}`)
      }
    }
    console.error(`${name}, ${damage}: done`)
  }
  return result
}

async function fieldsOf(image: Uint8Array): Promise<ExtractOutput['fields']> {
  const read = await ocr.call(request(image, undefined), AbortSignal.timeout(CALL_MS_MAX))
  if (read.kind !== 'succeeded') throw new Error(`A document was not read: ${read.code}.`)
  const { pages } = ReadOutput.parse(read.output)
  const found = await fields.call(request(image, { pages }), AbortSignal.timeout(CALL_MS_MAX))
  if (found.kind !== 'succeeded') throw new Error(`Nothing was extracted: ${found.code}.`)
  return ExtractOutput.parse(found.output).fields
}

function request(bytes: Uint8Array, built: unknown): CallRequest {
  const input: CallRequest['input'] = {
    mediaType: 'image/png',
    fileName: null,
    bytesTotal: bytes.length,
    bytes: () => Promise.resolve(bytes),
    json: () => Promise.reject(new Error('The input is no JSON.')),
  }
  return {
    record: 'r',
    pipeline: 'p',
    step: 's',
    attempt: 1,
    requestKey: 'k',
    deadlineMs: CALL_MS_MAX,
    input,
    request: built,
    outputs: {},
  }
}
