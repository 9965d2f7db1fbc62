/** Work with a limit that is only armed when it is needed. */
import { expect, it } from 'vitest'
import { within } from '../../src/worker/within.js'
import { createHandClock } from './hand-clock.js'

const counting = () => {
  const clock = createHandClock()
  let sleeps = 0
  const sleep = (ms: number, signal?: AbortSignal) => {
    sleeps += 1
    return clock.sleep(ms, signal)
  }
  return { clock, sleep, sleeps: () => sleeps }
}

it('what comes from memory makes no timer', async () => {
  const { sleep, sleeps } = counting()
  const work = (async () => {
    for (let step = 0; step < 6; step += 1) await Promise.resolve()
    return { ok: true }
  })()
  expect(await within(work, 100, { sleep })).toEqual({ ok: true })
  expect(sleeps()).toBe(0)
})

it('what waits is given up at its limit', async () => {
  const { clock, sleep } = counting()
  const outcome = within(new Promise<object>(() => {}), 100, { sleep })
  await clock.passes(100)
  expect(await outcome).toBeUndefined()
})

it('what comes in time is taken, and what fails, fails', async () => {
  const { clock, sleep } = counting()
  const slow = clock.sleep(50).then(() => ({ ok: true }))
  const outcome = within(slow, 100, { sleep })
  await clock.passes(50)
  expect(await outcome).toEqual({ ok: true })
  await expect(within(Promise.reject(new Error('It broke.')), 100, { sleep })).rejects.toThrow('It broke.')
})
