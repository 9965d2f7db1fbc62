/** Python environments for model servers: installed once, whole or not at all. Numbers name the invariants of venv.ts. */
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { createVenv } from '../../scripts/model-servers/venv.js'

let cache: string
beforeEach(async () => {
  cache = await mkdtemp(join(tmpdir(), 'endstate-venv-'))
  vi.stubEnv('ENDSTATE_CACHE', cache)
})
afterEach(async () => {
  vi.unstubAllEnvs()
  await rm(cache, { recursive: true, force: true })
})

/** Says in a file outside that it ran. */
const counting = () => ({ script: `open(${JSON.stringify(join(cache, 'runs'))}, 'a').write('x')` })
const runs = async () => (await readFile(join(cache, 'runs'), 'utf8')).length

test('V3: who asks at the same time, and who asks later, gets the one installation', async () => {
  const [one, other] = await Promise.all([createVenv('probe', [], counting()), createVenv('probe', [], counting())])
  expect(other).toEqual(one)
  expect(existsSync(one.python)).toBe(true)
  expect(await createVenv('probe', [], counting())).toEqual(one)
  expect(await runs()).toBe(1)
})

test('V1: an installation without its mark is made anew', async () => {
  const { dir } = await createVenv('probe', [], counting())
  await rm(join(dir, 'installed.json'))
  await writeFile(join(dir, 'left-behind'), '')
  await createVenv('probe', [], counting())
  expect(await runs()).toBe(2)
  expect(existsSync(join(dir, 'left-behind'))).toBe(false)
})

test('V1: a script that fails leaves no installation, and its words are told', async () => {
  const failing = { script: "raise ValueError('no such data')" }
  for (let times = 0; times < 2; times++)
    await expect(createVenv('probe', [], failing)).rejects.toThrow(/^probe: .* failed \(1\):[^]*no such data/)
})

test('V2: what is installed for one script is not taken for another', async () => {
  const one = await createVenv('probe', [], { script: '1' })
  expect((await createVenv('probe', [], { script: '2' })).dir).not.toBe(one.dir)
})

test('a python that is missing, or too new, is told with what is needed', async () => {
  const bin = join(cache, 'bin')
  await mkdir(bin)
  vi.stubEnv('PATH', bin)
  await expect(createVenv('probe', [])).rejects.toThrow('need Python 3.10 to 3.12 on PATH, and there is no python3.')
  await writeFile(join(bin, 'python3'), '#!/bin/sh\necho 99\n')
  await chmod(join(bin, 'python3'), 0o755)
  await expect(createVenv('probe', [])).rejects.toThrow('and there is Python 3.99.')
})
