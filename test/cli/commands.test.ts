/** The commands against a real service whose records do not move, because no worker runs: every way to ask and to wait. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.js'
import { runCli } from '../../src/cli/program.js'
import { dist, startChild, waitFor } from '../support/processes.js'
import { freshDb, testNatsUrl, uniqueName, type FreshDb } from '../support/servers.js'
import { memoryIo } from './cli-io.js'

const root = resolve(import.meta.dirname, '../..')
const sample = (name: string) => join(root, 'samples', name)
/** On a machine with nothing else to do it takes 2 s; test runs share theirs. */
const START_TIMEOUT_MS = 60_000
vi.setConfig({ testTimeout: 90_000 })

let db: FreshDb
let dir: string
let url: string
let key: string

beforeAll(async () => {
  db = await freshDb('commands')
  dir = await mkdtemp(join(tmpdir(), 'endstate-commands-'))
  const child = startChild(dist('main.js'), {
    env: {
      ENDSTATE_ROLES: 'api',
      ENDSTATE_MONGODB_URL: db.url,
      ENDSTATE_NATS_URL: testNatsUrl(),
      ENDSTATE_PORT: '0',
      ENDSTATE_PREFIX: uniqueName('commands'),
      ENDSTATE_CONFIG: join(root, 'endstate.config.ts'),
    },
  })
  const ready = await waitFor(() => child.errorLines.find((line) => line.includes('Endstate is ready.')), {
    what: () => `the service to be ready, which said:\n${child.errorLines.join('\n')}`,
    timeoutMs: START_TIMEOUT_MS,
  })
  url = (JSON.parse(ready) as { url: string }).url
}, 90_000)
afterAll(async () => {
  await rm(dir, { recursive: true, force: true })
  await db.dispose()
})
beforeEach(() => (key = uniqueName('key')))

const run = async (...args: string[]) => {
  const io = memoryIo({ ENDSTATE_URL: url }, dir)
  const exitCode = await runCli(args, io)
  const json = () => io.stdout.map((line) => JSON.parse(line) as { [name: string]: never })
  return { exitCode, json, stdout: io.stdout.join('\n'), stderr: io.stderr.join('\n') }
}
const submit = (file: string, ...more: string[]) => run('submit', file, '--pipeline', 'referral', ...more)

describe('submit', () => {
  it('uploads byte for byte, and answers with the receipt', async () => {
    const { exitCode, json } = await submit(sample('referral-typed.pdf'), '--json')
    const [{ file, receipt }] = json() as unknown as [{ file: string; receipt: { id: string; duplicate: boolean } }]
    expect({ exitCode, file, duplicate: receipt.duplicate }).toEqual({
      exitCode: EXIT.ok,
      file: sample('referral-typed.pdf'),
      duplicate: false,
    })
    const input = await fetch(`${url}/v1/records/${receipt.id}/input`)
    expect(Buffer.from(await input.arrayBuffer())).toEqual(await readFile(sample('referral-typed.pdf')))
  })

  it('with the same key and content is the same record, with other content is refused', async () => {
    const first = await submit(sample('blank.png'), '--key', key)
    const again = await submit(sample('blank.png'), '--key', key)
    expect(first.stdout).toContain('accepted')
    expect(again).toMatchObject({ exitCode: EXIT.ok, stdout: first.stdout.replace('accepted', 'already known') })
    const other = await submit(sample('broken.png'), '--key', key)
    expect(other.exitCode).toBe(EXIT.failed)
    expect(other.stderr).toContain(first.stdout.split(' ')[0])
  })

  it('of several files goes on after one that is refused, and says so at the end', async () => {
    const text = join(dir, 'note.txt')
    await writeFile(text, 'hello')
    const { exitCode, json, stderr } = await run(
      'submit',
      text,
      sample('blank.png'),
      '--pipeline',
      'referral',
      '--json',
    )
    expect(exitCode).toBe(EXIT.failed)
    expect(json()).toMatchObject([
      { file: text, error: { code: 'unsupported-media-type' } },
      { receipt: { duplicate: false } },
    ])
    expect(stderr).toContain('note.txt is refused')
  })

  it('to a pipeline that does not exist, or of an empty file, says what is wrong', async () => {
    const unknown = await run('submit', sample('blank.png'), '--pipeline', 'nowhere')
    expect(unknown.exitCode).toBe(EXIT.failed)
    expect(unknown.stderr).toContain('nowhere')
    await writeFile(join(dir, 'empty.png'), '')
    const empty = await submit(join(dir, 'empty.png'), '--json')
    expect(empty).toMatchObject({ exitCode: EXIT.failed })
    expect(empty.json()).toMatchObject([{ error: { code: 'empty-input' } }])
  })

  it('with --wait ends in time with its own exit code, and says how to go on', async () => {
    const { exitCode, stderr } = await submit(sample('blank.png'), '--wait', '--timeout', '300ms')
    expect(exitCode).toBe(EXIT.notSettled)
    expect(stderr).toMatch(/RECORD_ACCEPTED[^]*had not settled after 0\.3 s; it settles by .*endstate watch/)
  })

  it('of a file larger than the limit is told the refusal, not the broken connection', async () => {
    const large = join(dir, 'large.png')
    await writeFile(large, Buffer.concat([await readFile(sample('blank.png')), Buffer.alloc(33 * 1024 * 1024)]))
    const { exitCode, json } = await submit(large, '--json')
    expect(exitCode).toBe(EXIT.failed)
    expect(json()).toMatchObject([{ error: { code: 'too-large' } }])
  })
})

describe('list, show and watch', () => {
  it('show what was submitted', async () => {
    const { json } = await submit(sample('referral-clean.png'), '--key', key, '--json')
    const [{ receipt }] = json() as unknown as [{ receipt: { id: string } }]
    const listed = await run('list', '--status', 'processing', '--pipeline', 'referral', '--limit', '200')
    expect(listed.stdout).toMatch(new RegExp(`${receipt.id} +referral-clean\\.png +processing +read\\.ready +0`))
    const shown = await run('show', receipt.id)
    expect(shown.exitCode).toBe(EXIT.ok)
    expect(shown.stdout).toMatch(/source +local, key .*\n[^]*Way\n[^]*RECORD_ACCEPTED +ingest:upload/)
    const [{ record, history }] = (await run('show', receipt.id, '--json')).json() as unknown as [
      { record: { id: string; key: string }; history: { event: { type: string } }[] },
    ]
    expect(record).toMatchObject({ id: receipt.id, key })
    expect(history[0]?.event.type).toBe('RECORD_ACCEPTED')
    const watched = await run('watch', receipt.id, '--timeout', '300ms', '--json')
    expect(watched.exitCode).toBe(EXIT.notSettled)
    expect(watched.json()).toMatchObject([{ id: receipt.id, version: 1 }, { error: { code: 'not-settled' } }])
  })

  it('page through what is there', async () => {
    await submit(sample('blank.png'))
    await submit(sample('blank.png'))
    const [first] = (await run('list', '--limit', '1', '--json')).json() as unknown as [
      { items: { id: string }[]; next: string },
    ]
    const [second] = (await run('list', '--limit', '1', '--page', first.next, '--json')).json() as unknown as [
      { items: { id: string }[] },
    ]
    expect(second.items[0]?.id).not.toBe(first.items[0]?.id)
  })

  it('know only the records of the source that asks', async () => {
    const mine = await run('submit', sample('blank.png'), '--pipeline', 'referral', '--source', 'ward-7')
    const id = mine.stdout.split(' ')[0]!
    expect((await run('list', '--source', 'ward-7', '--json')).json()).toMatchObject([
      { items: [{ id, source: 'ward-7' }] },
    ])
  })

  it('refuse an id that nobody has', async () => {
    for (const command of ['show', 'watch']) {
      const { exitCode, stderr } = await run(command, 'nobody')
      expect(exitCode).toBe(EXIT.failed)
      expect(stderr).toContain('nobody')
    }
  })
})
