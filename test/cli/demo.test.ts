/** The demo as a stranger meets it: one command, real servers, real inference, and nothing left behind. */
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.js'
import { dist, startChild } from '../support/processes.js'

type Sample = {
  file: string
  problems: string[]
  record: {
    status: string
    charges: { [key: string]: { amount: string } }
    steps: { [step: string]: { attempts: unknown[]; result: { output: { fields: unknown[] } } | null } }
  }
}

it('demo --once --json settles every sample as it should, charges once, and leaves nothing', async () => {
  const before = await demoDirectories()
  const child = startChild(dist('cli/main.js'), { args: ['demo', '--once', '--json'], cwd: tmpdir() })
  const { code } = await child.exit({ timeoutMs: 240_000 })
  const end = JSON.parse(child.lines.join('\n')) as { ok: boolean; records: Sample[] }
  expect(end.records.flatMap(({ file, problems }) => problems.map((problem) => `${file}: ${problem}`))).toEqual([])
  expect({ code, ok: end.ok }).toEqual({ code: EXIT.ok, ok: true })

  const of = (file: string) => end.records.find((one) => one.file === file)!.record
  expect(of('blank.png')).toMatchObject({ status: 'completed', charges: {} })
  expect(of('blank.png').steps['extract']?.result?.output.fields).toEqual([])
  expect(of('broken.png')).toMatchObject({ status: 'rejected', charges: {} })
  expect(of('referral-clean.png')).toMatchObject({ status: 'completed', charges: { extract: { amount: '0.40' } } })
  expect(child.errorLines.some((line) => /referral-clean\.png .*ATTEMPT_STARTED read #1/.test(line))).toBe(true)
  expect(await demoDirectories()).toEqual(before)
}, 300_000)

const demoDirectories = async () => (await readdir(tmpdir())).filter((name) => name.startsWith('endstate-demo-')).sort()
