/**
 * `stack.json` in the data directory: which servers have written this data, and which run on it now.
 * `version` only ever grows, because data that a newer server wrote must not meet an older one (L3).
 */
import { readFile, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { compareVersions } from './version.js'

const Server = z.object({
  path: z.string(),
  version: z.string(),
  rung: z.enum(['url', 'path', 'cache', 'memory-server', 'wheel', 'release']),
  /** Null until it has come up once. */
  port: z.number().int().nullable(),
  /** Null when it is not running, as far as the last run knew. */
  pid: z.number().int().nullable(),
  /** The newest version that has written this data. */
  dataVersion: z.string(),
})
const StackFile = z.object({ mongo: Server.nullable(), nats: Server.nullable() })

export type StackServer = z.infer<typeof Server>
export type StackFile = z.infer<typeof StackFile>

const NAME = 'stack.json'

/** Throws when the file is there and can't be understood: guessing here could put an old server on new data. */
export async function readStackFile(dataDir: string): Promise<StackFile> {
  const path = join(dataDir, NAME)
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
    throw error
  })
  if (text === null) return { mongo: null, nats: null }
  try {
    return StackFile.parse(JSON.parse(text))
  } catch (error) {
    throw new Error(`${path} can't be read as the record of this data directory's servers. Mend it, or move it away.`, {
      cause: error,
    })
  }
}

export async function writeStackFile(dataDir: string, content: StackFile): Promise<void> {
  const path = join(dataDir, NAME)
  await writeFile(`${path}.new`, `${JSON.stringify(content, null, 2)}\n`)
  await rename(`${path}.new`, path)
}

export const newest = (a: string, b: string | undefined): string =>
  b === undefined || compareVersions(a, b) > 0 ? a : b
