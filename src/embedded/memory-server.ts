/**
 * The mongod that mongodb-memory-server downloads from MongoDB's own mirror.
 * It runs in a child process, because its download has no way to be stopped and retries for minutes where the mirror
 * does not answer; the mirror is asked first, so that a machine without it goes on within seconds.
 */
import { spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { ANSWER_TIMEOUT_MS } from './download.js'
import { MEMORY_SERVER_MIRROR, MEMORY_SERVER_VERSION } from './artefacts.js'

const STALL_TIMEOUT_MS = 20_000
const OUTPUT_CHARS_MAX = 16 * 1024

/** MongoBinary answers the path and puts its own progress on stdout. */
const SCRIPT = `
const { MongoBinary } = require('mongodb-memory-server-core/lib/util/MongoBinary')
MongoBinary.getPath({ downloadDir: process.argv[1], version: process.argv[2], checkMD5: true }).then(
  (path) => console.log('PATH ' + path),
  (error) => { console.error(String(error.message).split('\\n')[0]); process.exitCode = 1 },
)`

/** Answers the path of the mongod in `downloadDir`. Throws with the reason. */
export async function downloadByMemoryServer(
  downloadDir: string,
  say: (message: string) => void,
  mirror = MEMORY_SERVER_MIRROR,
): Promise<string> {
  await requireMirror(mirror)
  const home = createRequire(createRequire(import.meta.url).resolve('mongodb-memory-server')).resolve(
    'mongodb-memory-server-core/package.json',
  )
  say(`mongodb-memory-server downloads mongod ${MEMORY_SERVER_VERSION}`)
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['-e', SCRIPT, downloadDir, MEMORY_SERVER_VERSION], {
      cwd: new URL('..', `file://${home}`),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    let timer: NodeJS.Timeout
    const restart = () => {
      clearTimeout(timer)
      timer = setTimeout(() => child.kill('SIGKILL'), STALL_TIMEOUT_MS)
    }
    const hear = (chunk: Buffer) => {
      restart()
      const text = chunk.toString()
      output = (output + text).slice(-OUTPUT_CHARS_MAX)
      const percent = /([0-9.]+%)/.exec(text)?.[1]
      if (percent !== undefined) say(`mongod ${MEMORY_SERVER_VERSION}: ${percent}`)
    }
    restart()
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    child.on('error', reject)
    child.on('close', (_code, signal) => {
      clearTimeout(timer)
      const path = /^PATH (.+)$/m.exec(output)?.[1]
      if (path !== undefined) return resolve(path)
      const said = output.trim().split('\n').at(-1)
      reject(
        new Error(signal === null ? `mongodb-memory-server: ${said}` : 'mongodb-memory-server stalled and was stopped'),
      )
    })
  })
}

async function requireMirror(mirror: string): Promise<void> {
  try {
    const response = await fetch(mirror, { method: 'HEAD', signal: AbortSignal.timeout(ANSWER_TIMEOUT_MS) })
    await response.body?.cancel()
  } catch {
    throw new Error(`${new URL(mirror).host} can't be reached`)
  }
}
