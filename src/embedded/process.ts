/**
 * Server processes that outlive whoever started them: own session, own log file, never children of what may be
 * killed in a terminal. A process is known again by its pid and its command line, which names the data directory.
 */
import { execFile, spawn } from 'node:child_process'
import { closeSync, existsSync, openSync } from 'node:fs'
import { open, readFile, rename, stat } from 'node:fs/promises'

const LOG_BYTES_MAX = 16 * 1024 * 1024
const POLL_MS = 25
const KILL_TIMEOUT_MS = 5_000
const PS_TIMEOUT_MS = 5_000

export type Process = {
  pid: number
  isAlive: () => Promise<boolean>
  /** SIGTERM, then SIGKILL after `timeoutMs`. Resolves when the process is gone. */
  stop(timeoutMs: number): Promise<void>
}

export async function startProcess(command: string, args: string[], logFile: string): Promise<Process> {
  await rotate(logFile)
  const log = openSync(logFile, 'a')
  const child = spawn(command, args, { detached: true, stdio: ['ignore', log, log], cwd: '/' })
  try {
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
  } finally {
    closeSync(log)
  }
  child.unref()
  const pid = child.pid
  if (pid === undefined) throw new Error(`${command} has no pid.`)
  const isAlive = async () => child.exitCode === null && child.signalCode === null
  return { pid, isAlive, stop: (timeoutMs) => end(pid, isAlive, timeoutMs) }
}

/**
 * The process that a pid file names, if it still runs and its command line contains `mark`: an argument that no other
 * process has, such as the data path. `port` is what follows `--port` there.
 */
export async function findProcess(pidFile: string, mark: string): Promise<(Process & { port: number }) | null> {
  const pid = Number(await readFile(pidFile, 'utf8').catch(() => ''))
  if (!Number.isInteger(pid) || pid <= 0) return null
  const commandLine = await commandLineOf(pid)
  if (commandLine === null || !commandLine.includes(mark)) return null
  const port = Number(/ --port (\d+)/.exec(commandLine)?.[1])
  // Not by the command line: a process that ends loses it before it lets go of its files.
  const began = await startTimeOf(pid)
  const isAlive = async () => began !== null && (await startTimeOf(pid)) === began
  return { pid, port, isAlive, stop: (timeoutMs) => end(pid, isAlive, timeoutMs) }
}

/** Changes when a pid is given to another process. Null when no such process runs. */
export async function startTimeOf(pid: number): Promise<string | null> {
  if (existsSync('/proc/self/stat')) {
    const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => null)
    // Fields are counted after the command's name, which may contain spaces (proc(5): state is field 3, starttime 22).
    const fields = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? []
    return fields[0] === 'Z' ? null : (fields[19] ?? null) // a zombie has ended; nobody has asked how
  }
  return ps(pid, 'lstart=')
}

async function commandLineOf(pid: number): Promise<string | null> {
  if (!existsSync('/proc/self/cmdline')) return ps(pid, 'args=')
  const text = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
  return text === '' ? null : text.replaceAll('\0', ' ')
}

function ps(pid: number, column: string): Promise<string | null> {
  return new Promise((resolve) => {
    execFile('ps', ['-o', column, '-p', String(pid)], { timeout: PS_TIMEOUT_MS }, (error, stdout) => {
      resolve(error === null && stdout.trim() !== '' ? stdout.trim() : null)
    })
  })
}

async function end(pid: number, isAlive: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  for (const [signal, limitMs] of [
    ['SIGTERM', timeoutMs],
    ['SIGKILL', KILL_TIMEOUT_MS],
  ] as const) {
    if (!(await isAlive())) return
    try {
      process.kill(pid, signal)
    } catch {
      return // gone in between
    }
    if (await until(async () => !(await isAlive()), limitMs)) return
  }
  throw new Error(`The process ${pid} does not end.`)
}

/** True when the condition came true within the time. */
export async function until(condition: () => Promise<boolean>, timeoutMs: number): Promise<boolean> {
  const deadlineMs = performance.now() + timeoutMs
  for (;;) {
    if (await condition()) return true
    if (performance.now() >= deadlineMs) return false
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

/** The log's last lines, for an error message. */
export async function lastLines(logFile: string, count = 8): Promise<string> {
  const text = await tailOf(logFile)
  const lines = text.trim().split('\n').slice(-count)
  return lines.map((line) => `\n  ${line.slice(0, 400)}`).join('')
}

export async function tailOf(logFile: string, bytesMax = 32 * 1024): Promise<string> {
  const file = await open(logFile, 'r').catch(() => null)
  if (file === null) return ''
  try {
    const { size } = await file.stat()
    const bytes = Math.min(size, bytesMax)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, size - bytes)
    return buffer.toString('utf8', 0, bytesRead)
  } finally {
    await file.close()
  }
}

async function rotate(logFile: string): Promise<void> {
  const size = await stat(logFile).then(
    (one) => one.size,
    () => 0,
  )
  if (size > LOG_BYTES_MAX) await rename(logFile, `${logFile}.1`)
}
