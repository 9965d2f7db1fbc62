/**
 * Where a command writes to and reads its surroundings from. Results for machines go to stdout with --json, one JSON value
 * a line; results for people go there without it. Everything else, such as progress and errors, goes to stderr.
 */
import type { Environment } from '../config/settings.js'

export type Io = {
  env: Environment
  cwd: string
  /** A line on stdout. */
  out(line: string): void
  /** A line on stderr. */
  note(line: string): void
  /** Raw text to the terminal that stderr is; for what is drawn over. */
  draw(text: string): void
  /** Stderr is a terminal: progress may be drawn over. */
  noteIsTerminal: boolean
  columns(): number
  rows(): number
  /** Aborts when whoever waits has had enough: the first Ctrl-C, or a reader of stdout that went away. */
  interruption(): AbortSignal
}

export const processIo = (): Io => ({
  env: process.env,
  cwd: process.cwd(),
  out: (line) => void process.stdout.write(`${line}\n`),
  note: (line) => void process.stderr.write(`${line}\n`),
  draw: (text) => void process.stderr.write(text),
  noteIsTerminal: process.stderr.isTTY,
  // A terminal that does not know its size says 0.
  columns: () => process.stderr.columns || 100,
  rows: () => process.stderr.rows || 40,
  interruption() {
    const controller = new AbortController()
    process.once('SIGINT', () => controller.abort())
    process.stdout.once('error', () => controller.abort())
    return controller.signal
  },
})

export const printJson = (io: Io, value: unknown): void => io.out(JSON.stringify(value))
