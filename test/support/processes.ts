/**
 * Child processes for tests: node on a file of dist/ (or any other script), watched by its lines, killed and frozen by
 * pid, and never left behind: whatever still runs at the end of the test file is killed there, and would also end if
 * the test process itself were killed.
 */
import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { join } from 'node:path'
import { Socket } from 'node:net'
import type { Readable, Writable } from 'node:stream'

const LINES_MAX = 20_000
const POLL_MS = 10

const running = new Set<Child>()

export type ChildExit = { code: number | null; signal: NodeJS.Signals | null }

export type Child = {
  readonly pid: number
  /** What it wrote to stdout and stderr so far, by line. */
  readonly lines: readonly string[]
  readonly errorLines: readonly string[]
  /** The first line of stdout that matches, whether written before or after this call. Throws when it ends first. */
  line(pattern: RegExp | ((line: string) => boolean), options?: { timeoutMs?: number }): Promise<string>
  /** SIGKILL, SIGSTOP, SIGCONT, … to the process itself, not to its group. */
  signal(signal: NodeJS.Signals): void
  /** Resolves when it has ended and its output is read. */
  exit(options?: { timeoutMs?: number }): Promise<ChildExit>
  kill(): Promise<void>
}

/** Where `npx tsc -p tsconfig.build.json` puts a source file: `dist('main.js')`. */
export const dist = (file: string): string => join(import.meta.dirname, '../../dist', file)

/**
 * Starts `node script args…`. The child gets `env` on top of this process' environment without any ENDSTATE_ variable,
 * so that a developer's own settings never decide a test.
 */
export function startChild(
  script: string,
  options: {
    env?: { [name: string]: string | undefined }
    args?: readonly string[]
    nodeArgs?: readonly string[]
    cwd?: string
  } = {},
): Child {
  const inherited = Object.entries(process.env).filter(([name]) => !name.startsWith('ENDSTATE_'))
  const child = spawn(process.execPath, [...(options.nodeArgs ?? []), script, ...(options.args ?? [])], {
    env: { ...Object.fromEntries(inherited), ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
  if (child.pid === undefined) throw new Error(`${script} could not be started.`)
  const ended = endWithParent(child.pid)
  const watched = watch(child, child.pid, script)
  running.add(watched)
  child.once('close', () => {
    ended()
    running.delete(watched)
  })
  return watched
}

function watch(child: ChildProcessByStdio<null, Readable, Readable>, pid: number, script: string): Child {
  const lines: string[] = []
  const errorLines: string[] = []
  let ended: ChildExit | null = null
  collect(child.stdout, lines)
  collect(child.stderr, errorLines)
  child.once('close', (code, signal) => (ended = { code, signal }))
  const tail = () => [...lines.slice(-10), ...errorLines.slice(-20)].map((line) => `\n  ${line}`).join('')
  const signal = (name: NodeJS.Signals) => void (ended === null && child.kill(name))
  const exit = async (options: { timeoutMs?: number } = {}): Promise<ChildExit> => {
    await waitFor(() => ended !== null, {
      timeoutMs: options.timeoutMs ?? 20_000,
      what: () => `${script} to end${tail()}`,
    })
    return ended as unknown as ChildExit
  }
  return {
    pid,
    lines,
    errorLines,
    signal,
    exit,
    async line(pattern, options = {}) {
      const matches = pattern instanceof RegExp ? (line: string) => pattern.test(line) : pattern
      const found = await waitFor(
        () => {
          const line = lines.find(matches)
          if (line === undefined && ended !== null)
            throw new Error(`${script} ended (${JSON.stringify(ended)})${tail()}`)
          return line
        },
        {
          timeoutMs: options.timeoutMs ?? 20_000,
          what: () => `a line like ${String(pattern)} from ${script}${tail()}`,
        },
      )
      return found
    },
    async kill() {
      signal('SIGKILL')
      await exit()
    },
  }
}

/** Resolves with the condition's value as soon as it is truthy; a throw of the condition ends the wait at once. */
export async function waitFor<T>(
  condition: () => T | Promise<T>,
  options: { timeoutMs?: number; what: string | (() => string) },
): Promise<NonNullable<T>> {
  const timeoutMs = options.timeoutMs ?? 10_000
  const deadlineMs = performance.now() + timeoutMs
  for (;;) {
    const value = await condition()
    if (value) return value
    if (performance.now() > deadlineMs) {
      const what = typeof options.what === 'string' ? options.what : options.what()
      throw new Error(`Waited ${timeoutMs} ms in vain for ${what}`)
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/**
 * Ends process `pid` when this process is gone, however it ended. Call what it answers when the process has ended by
 * itself, because its pid may be given to another one then.
 */
export function endWithParent(pid: number): () => void {
  guard ??= startGuard()
  guard.write(`+${pid}\n`)
  return () => guard?.write(`-${pid}\n`)
}

/** One per test process; it learns of our end by the end of its stdin. */
let guard: Writable | null = null

function startGuard(): Writable {
  const script = `
    const pids = new Set()
    require('node:readline').createInterface({ input: process.stdin })
      .on('line', (line) => line[0] === '+' ? pids.add(Number(line.slice(1))) : pids.delete(Number(line.slice(1))))
      .on('close', () => { for (const pid of pids) try { process.kill(pid, 'SIGKILL') } catch {} })`
  const child = spawn(process.execPath, ['-e', script], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  child.unref()
  if (child.stdin instanceof Socket) child.stdin.unref()
  return child.stdin
}

/** Kills what the test file has left running. Registered by test/support/leaks.ts for every file. */
export async function reapChildren(): Promise<void> {
  await Promise.all([...running].map((child) => child.kill()))
}

function collect(stream: Readable, lines: string[]): void {
  let rest = ''
  stream.setEncoding('utf8')
  stream.on('data', (chunk: string) => {
    const parts = (rest + chunk).split('\n')
    rest = parts.pop() ?? ''
    lines.push(...parts)
    if (lines.length > LINES_MAX) lines.splice(0, lines.length - LINES_MAX)
  })
  stream.on('end', () => rest !== '' && lines.push(rest))
}
