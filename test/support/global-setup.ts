/**
 * Once per run: builds dist/ (tests start it as child processes), then starts one real MongoDB replica set with fail
 * points and one real nats-server with JetStream. Test files get their addresses; each uses a database and subjects of
 * its own, so that files can run side by side.
 */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoMemoryReplSet } from 'mongodb-memory-server'
import type { TestProject } from 'vitest/node'
import { findMongod, findNatsServer } from '../../src/embedded/ladder.js'
import { startNatsServer } from '../../src/embedded/nats-server.js'
import { defaultCacheDir, splitPath } from '../../src/embedded/path.js'
import { endWithParent } from './processes.js'

declare module 'vitest' {
  interface ProvidedContext {
    mongoUrl: string
    natsUrl: string
    mongodPath: string
    mongodVersion: string
    natsServerPath: string
  }
}

const BUILD_TIMEOUT_MS = 120_000

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const find = { pathDirs: splitPath(process.env['PATH']), cacheDir: defaultCacheDir() }
  const [, mongod, nats] = await Promise.all([build(), findMongod(find), findNatsServer(find)])
  const dir = await mkdtemp(join(tmpdir(), 'endstate-tests-'))
  const mongo = await MongoMemoryReplSet.create({
    binary: { systemBinary: mongod.path, version: mongod.version, checkMD5: false },
    replSet: { count: 1, storageEngine: 'wiredTiger', args: ['--setParameter', 'enableTestCommands=1'] },
  })
  const natsServer = await startNatsServer({ binary: nats.path, dir })
  endWithParent(natsServer.pid)
  project.provide('mongoUrl', mongo.getUri())
  project.provide('natsUrl', natsServer.url)
  project.provide('mongodPath', mongod.path)
  project.provide('mongodVersion', mongod.version)
  project.provide('natsServerPath', nats.path)
  return async () => {
    await natsServer.stop()
    await mongo.stop({ doCleanup: true, force: true })
    await rm(dir, { recursive: true, force: true })
  }
}

/** Types are checked by `npm run check`; here only the JavaScript counts, so that a type error elsewhere stops no test. */
async function build(): Promise<void> {
  const tsc = join(import.meta.dirname, '../../node_modules/typescript/bin/tsc')
  const args = ['-p', 'tsconfig.build.json', '--incremental', '--tsBuildInfoFile', 'dist/.tsbuildinfo']
  try {
    await promisify(execFile)(process.execPath, [tsc, ...args], {
      cwd: join(import.meta.dirname, '../..'),
      timeout: BUILD_TIMEOUT_MS,
    })
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error
    const said = error instanceof Error && 'stdout' in error ? String(error.stdout) : String(error)
    console.warn(`The build reports errors (dist/ is written all the same):\n${said.slice(0, 1_000)}`)
  }
}
