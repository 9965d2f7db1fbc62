/** A command's surroundings, kept in memory: what it wrote can be read. */
import type { Io } from '../../src/cli/io.js'

export type MemoryIo = Io & { stdout: string[]; stderr: string[] }

export const memoryIo = (env: { [name: string]: string } = {}, cwd = '/'): MemoryIo => {
  const stdout: string[] = []
  const stderr: string[] = []
  return {
    stdout,
    stderr,
    env,
    cwd,
    out: (line) => void stdout.push(line),
    note: (line) => void stderr.push(line),
    draw: (text) => void stderr.push(text),
    noteIsTerminal: false,
    columns: () => 200,
    rows: () => 50,
    interruption: () => new AbortController().signal,
  }
}
