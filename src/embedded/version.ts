/**
 * Asking a server binary for its version, and comparing versions.
 * A binary counts only when it answers: one that lacks a shared library is named with the library.
 */
import { execFile } from 'node:child_process'

export type ServerKind = 'mongod' | 'nats-server'

/** Design: any MongoDB 6 or newer, any NATS 2.10 or newer. */
export const VERSION_MIN: Readonly<Record<ServerKind, string>> = { mongod: '6.0.0', 'nats-server': '2.10.0' }
const PROBE_TIMEOUT_MS = 10_000

const ANSWER: Readonly<Record<ServerKind, RegExp>> = {
  mongod: /db version v(\d+\.\d+\.\d+)/,
  'nats-server': /nats-server: v(\d+\.\d+\.\d+)/,
}

/** Negative when `a` is older than `b`. Both are `major.minor.patch`. */
export function compareVersions(a: string, b: string): number {
  const left = a.split('.').map(Number)
  const right = b.split('.').map(Number)
  for (let i = 0; i < 3; i++) {
    const difference = (left[i] ?? 0) - (right[i] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** `major.minor`: what decides whether MongoDB can open another version's data. */
export const seriesOf = (version: string): string => version.split('.').slice(0, 2).join('.')

/** Answers the version, or in one clause why the binary can't be used. Never throws. */
export function probeVersion(kind: ServerKind, path: string): Promise<{ version: string } | { problem: string }> {
  return new Promise((resolve) => {
    execFile(path, ['--version'], { timeout: PROBE_TIMEOUT_MS, maxBuffer: 1 << 20 }, (error, stdout, stderr) => {
      const version = ANSWER[kind].exec(stdout)?.[1]
      if (version !== undefined) return resolve({ version })
      const library = /loading shared libraries: ([^:]+):/.exec(stderr)?.[1]
      if (library !== undefined)
        return resolve({ problem: `${path} needs the library ${library}, which is not installed` })
      const symbol = /version `([A-Z]+_[0-9.]+)' not found/.exec(stderr)?.[1]
      if (symbol !== undefined) return resolve({ problem: `${path} needs a system library with ${symbol}` })
      if (error !== null)
        return resolve({ problem: `${path} --version failed (${error.code ?? error.signal ?? 'no reason given'})` })
      resolve({ problem: `${path} --version does not answer like a ${kind}` })
    })
  })
}
