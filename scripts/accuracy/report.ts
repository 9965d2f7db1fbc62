/** The measured numbers as a page of docs. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { FIELD_NAMES } from '../../src/providers/extract/extract-output.js'
import type { Judged, Score, Tally } from './score.js'

export type Family = {
  name: string
  documents: number
  layouts: string[]
  byDamage: { [damage: string]: Score }
  judged: Judged[]
}

const PACKAGES = [
  'tesseract.js',
  'tesseract.js-core',
  '@tesseract.js-data/eng',
  'sharp',
  '@hyzyla/pdfium',
  'wink-nlp',
  'wink-eng-lite-web-model',
]
const share = (part: number, whole: number): string => (whole === 0 ? '-' : (part / whole).toFixed(2))

export async function report(families: readonly Family[]): Promise<string> {
  const versions = await Promise.all(PACKAGES.map(async (name) => `${name} ${await versionOf(name)}`))
  return `# How well referrals are read

Measured, not promised: invented referrals are drawn, spoilt as a scanner spoils them, read with the shipped pipeline's own
providers and held against what was drawn. Real scans bring handwriting, stamps and worse paper; expect less there.

Command: \`node --import jiti/register scripts/accuracy/run.ts\` (same code and packages, same numbers; processors with other
vector instructions may read a few words differently).
Versions: Node ${process.versions.node}, ${versions.join(', ')}.

- **held-out**: layouts, label wordings and values that were never looked at while extraction was written or mended. These
  are the numbers to believe. One page of it was seen once, because the engine hung on its grain; what was mended then
  concerns pixels (grain becomes white before reading), not wordings. The same people wrote all three generators.
- **first**, **second**: drawn the same way by other generators. Each was held out at first, measured, and then looked at to
  mend mistakes; they show what was mended, not what to expect.
- clean: 200 dots an inch. skewed: turned by 1 to 5 degrees, JPEG. noisy: 150 dots an inch, blurred, grain, specks, faded.
- right: dates, numbers and codes exactly; names and phrases with at most one letter in ten wrong; a medication by drug,
  dose and unit; a lab value by analyte and number. exact: every part to the letter (frequency, unit and range too).
- precision: right / found. recall: right / n. exact: exact / n. n: how many stand on the paper.
${families.map(section).join('')}
## Confidence

The confidence of a field is that of its least sure word, as the engine gives it. Share of found fields that were right:

${table(['confidence', ...families.map(({ name }) => `${name}: right`), ...families.map(({ name }) => `${name}: fields`)], bands(families))}`
}

const section = (family: Family): string => `
## ${family.name}: ${family.documents} documents

Layouts: ${family.layouts.join('; ')}.

${table(header(Object.keys(family.byDamage)), [...FIELD_NAMES.map((name) => [name, ...Object.values(family.byDamage).flatMap((score) => cells(score[name]))]), ['all', ...Object.values(family.byDamage).flatMap((score) => cells(total(score)))]])}
`

const header = (damages: readonly string[]): string[] => [
  'field',
  ...damages.flatMap((damage) => [`${damage}: precision`, 'recall', 'exact', 'n']),
]

const cells = ({ wanted, found, right, exact }: Tally): string[] => [
  share(right, found),
  share(right, wanted),
  share(exact, wanted),
  String(wanted),
]

const total = (score: Score): Tally =>
  Object.values(score).reduce(
    (sum, tally) => ({
      wanted: sum.wanted + tally.wanted,
      found: sum.found + tally.found,
      right: sum.right + tally.right,
      exact: sum.exact + tally.exact,
    }),
    { wanted: 0, found: 0, right: 0, exact: 0 },
  )

const BANDS: readonly [number, number][] = [
  [0.9, 1.01],
  [0.8, 0.9],
  [0.6, 0.8],
  [0, 0.6],
]

const bands = (families: readonly Family[]): string[][] =>
  BANDS.map(([from, to]) => {
    const inBand = families.map(({ judged }) =>
      judged.filter(({ confidence }) => confidence >= from && confidence < to),
    )
    const right = inBand.map((fields) => share(fields.filter((field) => field.right).length, fields.length))
    return [
      to > 1 ? `${from} and more` : `${from} to ${to}`,
      ...right,
      ...inBand.map((fields) => String(fields.length)),
    ]
  })

const table = (head: readonly string[], rows: readonly string[][]): string =>
  [head, head.map(() => '---'), ...rows].map((row) => `| ${row.join(' | ')} |`).join('\n')

async function versionOf(name: string): Promise<string> {
  const file = join(import.meta.dirname, '..', '..', 'node_modules', name, 'package.json')
  return String((JSON.parse(await readFile(file, 'utf8')) as { version: string }).version)
}
