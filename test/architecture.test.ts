/**
 * The rooms of src/ and who may import what: design section 9, as data. Each rule has a fixture in
 * test/fixtures/architecture/<rule> that breaks this rule and no other, so that a rule that stops biting fails here.
 */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readSourceFiles, type SourceFile } from './support/source-files.js'

/** Folders of src/. `shows`: the modules that other rooms may import; everything else is the room's own. */
const ROOMS: { [room: string]: { shows: readonly string[] } } = {
  // The pure core, without any adapter: all of it may be used.
  machines: { shows: ['*'] },
  // How a config is written and read; types of what it holds.
  config: { shows: ['contract'] },
  // json-limits and source are pure: the limits that every edge applies to bytes from outside.
  ingest: { shows: ['contract', 'json-limits', 'source'] },
  // call and slots are the shared call layer, which no adapter is part of; durations is how a config writes a time; built-in
  // holds the providers that a config gets by the forms of its pipelines; secret is how it names one; decimal is the
  // arithmetic of amounts.
  providers: { shows: ['contract', 'gate', 'call', 'slots', 'durations', 'built-in', 'secret', 'decimal'] },
  // settings: how a config writes who is told of charges. csv, columns and report are pure: what
  // the API answers in.
  ledger: { shows: ['contract', 'settings', 'csv', 'columns', 'report'] },
  persistence: { shows: ['contract'] },
  worker: { shows: ['contract'] },
  // The invariants of records on a live database, read-only.
  audit: { shows: ['contract'] },
  simulation: { shows: ['contract'] },
  server: { shows: ['contract'] },
  embedded: { shows: ['contract'] },
  live: { shows: ['contract'] },
  // Checks for adapters, for whoever writes one: nothing here imports it.
  testing: { shows: [] },
  cli: { shows: [] },
}

/** They wire the rooms: nothing is hidden from them. */
const ROOTS = [/^endstate\.ts$/, /^configured\.ts$/, /^roles\.ts$/, /^index\.ts$/, /^main\.ts$/, /^cli\//]

/** Packages that belong to some places only. */
const HOMES: { [name: string]: readonly RegExp[] } = {
  mongodb: [/^persistence\//, /^embedded\//, ...ROOTS],
  'mongodb-memory-server': [/^embedded\//],
  nats: [/^worker\/nats-/, /^ingest\/nats/, /^ledger\/nats-/, ...ROOTS],
  koa: [/^server\//, ...ROOTS],
  commander: [/^cli\//],
}

/** Rooms that may import these packages and no others. */
const DIETS: { [room: string]: readonly string[] } = { machines: ['xstate', 'zod'] }

/** Code that belongs to some places only, by what it looks like. */
const WORDS: { [rule: string]: { pattern: RegExp; allowed: readonly RegExp[]; instead: string } } = {
  environment: {
    pattern: /\bprocess\.env\b/,
    allowed: [/^main\.ts$/, /^cli\//],
    instead: 'take it as an argument; only src/main.ts and src/cli read the environment',
  },
  'process-end': {
    pattern: /\bprocess\.(exit\(|(on|once)\(\s*['"](SIG|uncaught|unhandled))/,
    allowed: [/^main\.ts$/, /^cli\//],
    instead: 'leave signals and the exit to src/main.ts and src/cli; the library is a guest',
  },
  'default-export': { pattern: /^export default\b|\bas default\b/m, allowed: [], instead: 'export it by name' },
  'pure-machines': {
    pattern:
      /\bMath\.random\b|\bDate\.now\b|\bnew Date\(\)|\bset(Timeout|Interval|Immediate)\b|\bperformance\b|\bconsole\./,
    allowed: [/^(?!machines\/)/],
    instead: 'time and chance come in with events: machines have no clock and no randomness',
  },
}

const LINES_MAX = 400

type Rule = { name: string; offences: (file: SourceFile) => string[] }

const isRoot = (path: string): boolean => ROOTS.some((root) => root.test(path))
const roomOf = (path: string): string => (path.includes('/') ? path.slice(0, path.indexOf('/')) : '')
const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')

const RULES: Rule[] = [
  {
    name: 'rooms',
    offences: ({ path }) => (isRoot(path) || roomOf(path) in ROOMS ? [] : [`${path} is in no room of the table`]),
  },
  {
    name: 'contracts',
    offences: ({ path, imports }) =>
      imports.flatMap(({ file }) => {
        if (file === null || isRoot(path) || roomOf(file) === roomOf(path)) return []
        const shows = ROOMS[roomOf(file)]?.shows ?? []
        const module = file.slice(file.indexOf('/') + 1)
        if (shows.includes('*') || shows.includes(module)) return []
        return [`${path} imports ${file}: the room ${roomOf(file) || 'src'} shows ${shows.join(', ') || 'nothing'}`]
      }),
  },
  {
    name: 'diet',
    offences: ({ path, imports }) => {
      const diet = DIETS[roomOf(path)]
      if (diet === undefined) return []
      return imports.flatMap(({ specifier, file }) => {
        if (file !== null)
          return roomOf(file) === roomOf(path) ? [] : [`${path} imports ${file}: it may import no other room`]
        return diet.includes(packageOf(specifier))
          ? []
          : [`${path} imports ${specifier}: it may import ${diet.join(', ')}`]
      })
    },
  },
  ...Object.entries(HOMES).map(([name, homes]): Rule => ({
    name: `home-of-${name}`,
    offences: ({ path, imports }) =>
      imports.some(({ specifier }) => packageOf(specifier) === name) && !homes.some((home) => home.test(path))
        ? [`${path} imports ${name}, which belongs to ${homes.map(String).join(', ')}`]
        : [],
  })),
  ...Object.entries(WORDS).map(([name, { pattern, allowed, instead }]): Rule => ({
    name,
    offences: ({ path, code }) =>
      pattern.test(code) && !allowed.some((place) => place.test(path)) ? [`${path}: ${instead}`] : [],
  })),
  {
    name: 'length',
    offences: ({ path, text }) => {
      const lines = text.trimEnd().split('\n').length
      return lines > LINES_MAX ? [`${path} has ${lines} lines; ${LINES_MAX} is the limit`] : []
    },
  },
]

const offencesIn = (root: string): { rule: string; offence: string }[] => {
  const files = readSourceFiles(root)
  return RULES.flatMap(({ name, offences }) =>
    files.flatMap((file) => offences(file).map((offence) => ({ rule: name, offence }))),
  )
}

const FIXTURES = join(import.meta.dirname, 'fixtures/architecture')

describe('the rooms of src/', () => {
  const offences = offencesIn(join(import.meta.dirname, '../src'))
  it.each(RULES)('keep the rule $name', ({ name }) => {
    expect(offences.filter(({ rule }) => rule === name).map(({ offence }) => offence)).toEqual([])
  })
})

describe('each rule bites', () => {
  it('and has a fixture', () => {
    expect(readdirSync(FIXTURES).sort()).toEqual(RULES.map(({ name }) => name).sort())
  })

  it.each(RULES)('$name', ({ name }) => {
    const found = offencesIn(join(FIXTURES, name))
    expect(found.map(({ rule }) => rule)).toEqual([name])
  })
})
