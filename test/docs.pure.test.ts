/** docs/failure-modes.md says which test proves what: each of them exists, under the title that is quoted. */
import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const root = new URL('../', import.meta.url)
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8')

/** Sections that name no fault. */
const NO_FAULT = new Set(['How to read this page', 'What is not guaranteed'])
const PARTS = ['**You see:**', '**What happens:**', '**Cost:**', '**Proof:**']

const faults = read('docs/failure-modes.md')
  .split(/^## /m)
  .slice(1)
  .map((text) => ({ title: text.slice(0, text.indexOf('\n')), text }))
  .filter(({ title }) => !NO_FAULT.has(title))

/** `- test/faults/kill.test.ts: "title"` */
const proofsOf = (text: string) =>
  [...text.matchAll(/^- (test\/\S+\.test\.ts): "(.*)"$/gm)].map(([, file, title]) => ({
    file: file!,
    title: title!.replaceAll('\\"', '"'),
  }))

describe('each fault of docs/failure-modes.md', () => {
  it.each(faults)('$title', ({ text }) => {
    for (const part of PARTS) expect(text).toContain(part)
    const proofs = proofsOf(text)
    expect(proofs.length).toBeGreaterThan(0)
    // No line of the list is passed over for being written in another way.
    expect(text.match(/^- /gm)).toHaveLength(proofs.length)
    // In quotes, as a title stands in a test file.
    for (const { file, title } of proofs)
      expect(read(file).includes(`'${title}'`), `${file} has a test "${title}"`).toBe(true)
  })

  it('is there', () => {
    expect(faults.length).toBeGreaterThan(30)
  })
})
