/** The bench's processes: started with a channel, ready when their first line is there, ended by their own pid. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const READY_MS = 60_000
const STOP_MS = 20_000

/** Answers { url, child, stop }. Throws when the first line does not come. */
export async function startProcess(script, { args = [], env = {}, execArgv = [] } = {}) {
  const child = fork(join(import.meta.dirname, script), args, {
    env: { ...process.env, ...env },
    execArgv,
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  })
  const lines = createInterface({ input: child.stdout })
  const first = await Promise.race([
    once(lines, 'line'),
    once(child, 'exit').then(([code]) => {
      throw new Error(`${script} ended with exit code ${code} before it was ready.`)
    }),
    new Promise((_resolve, reject) => {
      setTimeout(() => reject(new Error(`${script} was not ready within ${READY_MS} ms.`)), READY_MS).unref()
    }),
  ])
  const stop = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const cut = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    await once(child, 'exit')
    clearTimeout(cut)
  }
  return { ...JSON.parse(first[0]), child, stop }
}
