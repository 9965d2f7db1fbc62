/** Finding a command in the directories of PATH, and the place where downloaded servers are kept. */
import { constants } from 'node:fs'
import { access, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { delimiter, join } from 'node:path'

/** `value` is the PATH variable; the caller reads the environment. */
export const splitPath = (value: string | undefined): string[] =>
  (value ?? '').split(delimiter).filter((dir) => dir !== '')

export const defaultCacheDir = (): string => join(homedir(), '.cache', 'endstate')

/** The first executable file of that name, or null. */
export async function findOnPath(name: string, pathDirs: readonly string[]): Promise<string | null> {
  for (const dir of pathDirs) {
    const path = join(dir, name)
    if (await isExecutable(path)) return path
  }
  return null
}

export async function isExecutable(path: string): Promise<boolean> {
  try {
    await access(path, constants.X_OK)
    return (await stat(path)).isFile()
  } catch {
    return false
  }
}
