/** The worker of `dev`: killed, it comes back; broken, it is given up; at the end none is left. */
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/exit-codes.js'
import { superviseWorker, workerText, type WorkerEvent, type WorkerProcess } from '../../src/cli/worker-process.js'
import { waitFor } from '../support/processes.js'

const entry = join(import.meta.dirname, 'worker-child.mjs')
const started: WorkerProcess[] = []
const supervise = (mode: string) => {
  const events: WorkerEvent[] = []
  const worker = superviseWorker({ entry, args: [mode], env: {}, onEvent: (event) => events.push(event) })
  started.push(worker)
  return { worker, events }
}
afterEach(() => Promise.all(started.splice(0).map((worker) => worker.stop())))

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('a supervised worker', () => {
  it('that is killed is replaced, and that is told', async () => {
    const { worker, events } = supervise('good')
    const first = await worker.ready
    process.kill(first, 'SIGKILL')
    await waitFor(() => events.length === 3, { what: 'a second worker to be ready', timeoutMs: 30_000 })
    const second = worker.pid()
    expect(second).not.toBe(first)
    expect(events).toEqual([
      { type: 'ready', pid: first },
      { type: 'ended', pid: first, code: null, signal: 'SIGKILL', restartInMs: 200 },
      { type: 'ready', pid: second },
    ])
    expect(events.map(workerText)[1]).toBe(`Worker ${first} was ended by SIGKILL; a new one starts in 0.2 s.`)
  })

  it('waits longer before each restart of a worker that does not last', async () => {
    const { worker, events } = supervise('good')
    const pauses = () => events.flatMap((event) => (event.type === 'ended' ? [event.restartInMs] : []))
    for (const count of [1, 2, 3]) {
      const pid = await waitFor(() => (events.at(-1)?.type === 'ready' ? worker.pid() : null), {
        what: 'a worker',
        timeoutMs: 30_000,
      })
      process.kill(pid, 'SIGKILL')
      await waitFor(() => pauses().length === count, { what: 'its end', timeoutMs: 30_000 })
    }
    expect(pauses()).toEqual([200, 400, 800])
  })

  it('that never comes up is given up, with its exit code', async () => {
    const { worker } = supervise('broken')
    await expect(worker.ready).rejects.toThrow('it ended with code 7, 3 times')
    expect(worker.pid()).toBeNull()
  })

  it('that says itself that a setting is wrong is given up at once', async () => {
    const { worker, events } = supervise('misconfigured')
    await expect(worker.ready).rejects.toMatchObject({
      exitCode: EXIT.usage,
      message: 'The worker process does not come up (it ended with code 2). What it said is above.',
    })
    expect(events).toEqual([])
  })

  it('ends with stop, also while it waits to be started again', async () => {
    const { worker, events } = supervise('good')
    const pid = await worker.ready
    await worker.stop()
    expect([isAlive(pid), worker.pid(), events.length]).toEqual([false, null, 1])
    const again = supervise('good')
    process.kill(await again.worker.ready, 'SIGKILL')
    await waitFor(() => again.events.length === 2, { what: 'its end', timeoutMs: 30_000 })
    await again.worker.stop()
    expect(again.worker.pid()).toBeNull()
  })

  it('that does not end when asked is ended at once by kill', async () => {
    const { worker } = supervise('stubborn')
    const pid = await worker.ready
    worker.kill()
    await waitFor(() => !isAlive(pid), { what: 'it to be gone', timeoutMs: 30_000 })
  })
})
