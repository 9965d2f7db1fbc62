/**
 * One process at a time on a data directory.
 *
 * K1 The lock names its holder by pid and start time, so that a pid that was given to another process is not taken
 *    for the holder.
 * K2 A stale lock is moved away and looked at again before a new one is made: two processes that find it at the same
 *    time can't both remove it, and the one that moved a live lock puts it back.
 */
import { link, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { DataDirectoryInUse } from './contract.js'
import { startTimeOf } from './process.js'

const LOCK = 'lock.json'
const TRIES = 5

const Holder = z.object({ pid: z.number().int(), startedAt: z.string().nullable() })
type Holder = z.infer<typeof Holder>

/** Answers the release. Throws DataDirectoryInUse. */
export async function lockDataDirectory(dataDir: string): Promise<() => Promise<void>> {
  const path = join(dataDir, LOCK)
  const own = JSON.stringify({ pid: process.pid, startedAt: await startTimeOf(process.pid) } satisfies Holder)
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      await create(path, own)
      return () => release(path, own)
    } catch (error) {
      if (!isCode(error, 'EEXIST')) throw error
    }
    const found = await readFile(path, 'utf8').catch(() => null)
    if (found === null) continue // released in between
    const holder = parse(found)
    if (holder !== null && (await isRunning(holder))) throw new DataDirectoryInUse(dataDir, holder.pid)
    await removeStale(path, found)
  }
  throw new Error(`The lock ${path} keeps changing hands. Stop the other processes on this data directory.`)
}

/** By a link, so that the lock is never seen half-written. */
async function create(path: string, content: string): Promise<void> {
  const draft = `${path}.${process.pid}`
  await writeFile(draft, content)
  try {
    await link(draft, path)
  } finally {
    await rm(draft, { force: true })
  }
}

/** K2 */
async function removeStale(path: string, stale: string): Promise<void> {
  const moved = `${path}.stale.${process.pid}`
  await rename(path, moved).catch((error: unknown) => {
    if (!isCode(error, 'ENOENT')) throw error
  })
  const content = await readFile(moved, 'utf8').catch(() => null)
  if (content !== null && content !== stale) await link(moved, path).catch(() => undefined)
  await rm(moved, { force: true })
}

async function release(path: string, own: string): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => null)) === own) await rm(path, { force: true })
}

function parse(text: string): Holder | null {
  try {
    return Holder.parse(JSON.parse(text))
  } catch {
    return null
  }
}

/** K1. This process itself counts as running: two stacks of one process would share the data just the same. */
const isRunning = async (holder: Holder): Promise<boolean> => {
  const startedAt = await startTimeOf(holder.pid)
  return startedAt !== null && (holder.startedAt === null || startedAt === holder.startedAt)
}

const isCode = (error: unknown, code: string): boolean =>
  error instanceof Error && 'code' in error && error.code === code
