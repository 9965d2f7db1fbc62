/** docs/audit.md says of each invariant what it means and what to do when it is broken, under its name and promise. */
import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { INVARIANT_NAMES } from '../../src/audit/contract.js'
import { INVARIANTS } from '../../src/audit/invariants.js'

const sections = readFileSync(new URL('../../docs/audit.md', import.meta.url), 'utf8')
  .split(/^### /m)
  .slice(1)

it('each invariant has a section of docs/audit.md, and nothing else has', () => {
  const promises = new Map<string, string>(INVARIANTS.map(({ name, promise }) => [name, ` (${promise})`]))
  const titles = INVARIANT_NAMES.map((name) => `${name}${promises.get(name) ?? ''}`)
  expect(sections.map((text) => text.slice(0, text.indexOf('\n')))).toEqual(titles)
})

it.each(sections.map((text) => [text.slice(0, text.indexOf('\n')), text]))('%s says what to do', (_title, text) => {
  expect(text).toMatch(/\*Broken:\* .{20}/)
})
