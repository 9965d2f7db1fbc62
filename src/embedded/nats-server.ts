/**
 * One nats-server with JetStream on disk, bound to 127.0.0.1.
 * Ready means: its INFO line (the first that a NATS server sends) says that JetStream is on. This room reads that line
 * itself, because the NATS client belongs to the rooms that send messages.
 */
import { mkdir } from 'node:fs/promises'
import { createConnection } from 'node:net'
import { join } from 'node:path'
import { z } from 'zod'
import { ServerNotStarted } from './contract.js'
import { freePort } from './free-port.js'
import type { RunningServer } from './mongod.js'
import { findProcess, lastLines, startProcess, tailOf, until, type Process } from './process.js'

const READY_TIMEOUT_MS = 30_000
const ADOPT_TIMEOUT_MS = 5_000
const ANSWER_TIMEOUT_MS = 1_000
const STOP_TIMEOUT_MS = 15_000
const PORT_TRIES = 3
const INFO_CHARS_MAX = 64 * 1024

export type NatsServerOptions = {
  binary: string
  /** Absolute; `nats/` and `nats-server.log` are made in it. */
  dir: string
  port?: number | undefined
  fixedPort?: boolean
  args?: readonly string[]
}

const Info = z.object({ jetstream: z.boolean().optional() })

const natsDataPath = (dir: string): string => join(dir, 'nats')
const pidFileOf = (dir: string) => join(dir, 'nats-server.pid')

export async function startNatsServer(options: NatsServerOptions): Promise<RunningServer> {
  const dataPath = natsDataPath(options.dir)
  const logFile = join(options.dir, 'nats-server.log')
  await mkdir(dataPath, { recursive: true })
  for (let tries = 1; ; tries++) {
    const port = options.fixedPort && options.port !== undefined ? options.port : await freePort(options.port)
    const args = [
      '--store_dir',
      dataPath,
      '--addr',
      '127.0.0.1',
      '--port',
      String(port),
      '--jetstream',
      '--pid',
      pidFileOf(options.dir),
    ]
    const process = await startProcess(options.binary, [...args, ...(options.args ?? [])], logFile)
    try {
      await becomeReady(port, process)
      return running(port, process)
    } catch (error) {
      await process.stop(STOP_TIMEOUT_MS)
      const portTaken = /address already in use/i.test(await tailOf(logFile, 4 * 1024))
      if (portTaken && !options.fixedPort && tries < PORT_TRIES) continue
      const why = error instanceof Error ? error.message : String(error)
      throw new ServerNotStarted(
        `nats-server did not start (${why}). The last lines of ${logFile}:${await lastLines(logFile)}`,
      )
    }
  }
}

/** The nats-server that a killed process left behind on this data; null when there is none. */
export const findNatsOrphan = (dir: string): Promise<(Process & { port: number }) | null> =>
  findProcess(pidFileOf(dir), `--store_dir ${natsDataPath(dir)} `)

/** Takes an orphan over. Throws when it does not answer. */
export async function adoptNatsServer(orphan: Process & { port: number }): Promise<RunningServer> {
  await becomeReady(orphan.port, orphan, ADOPT_TIMEOUT_MS)
  return running(orphan.port, orphan)
}

const running = (port: number, process: Process): RunningServer => ({
  url: `nats://127.0.0.1:${port}`,
  port,
  pid: process.pid,
  isAlive: process.isAlive,
  stop: () => process.stop(STOP_TIMEOUT_MS),
})

async function becomeReady(port: number, process: Process, timeoutMs = READY_TIMEOUT_MS): Promise<void> {
  const ready = async () => {
    if (!(await process.isAlive())) throw new Error('it ended at once')
    return (await readInfo(port))?.jetstream === true
  }
  if (!(await until(ready, timeoutMs))) throw new Error('JetStream does not come up')
}

/** Null when nothing answers like a NATS server. */
function readInfo(port: number): Promise<z.infer<typeof Info> | null> {
  return new Promise((resolve) => {
    const socket = createConnection({ port, host: '127.0.0.1' })
    let text = ''
    const answer = (info: z.infer<typeof Info> | null) => {
      socket.destroy()
      resolve(info)
    }
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => answer(null))
    socket.on('error', () => answer(null))
    socket.on('close', () => answer(null))
    socket.on('data', (chunk) => {
      text += chunk.toString()
      if (text.length > INFO_CHARS_MAX) answer(null)
      const json = /^INFO (\{.*\})\s*\r\n/.exec(text)?.[1]
      if (json !== undefined) answer(parseInfo(json))
    })
  })
}

function parseInfo(json: string): z.infer<typeof Info> | null {
  try {
    return Info.parse(JSON.parse(json))
  } catch {
    return null
  }
}
