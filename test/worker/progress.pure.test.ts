/** What a running call tells of itself becomes few events: its id at once, its numbers seldom. */
import { expect, it } from 'vitest'
import type { CallProgressed } from '../../src/machines/events.js'
import { createProgress } from '../../src/worker/progress.js'

const call = { step: 'read', attempt: 1, generation: 1 }

const scene = () => {
  let nowMs = 1_000
  const told: CallProgressed[] = []
  const tell = createProgress(
    call,
    () => nowMs,
    (event) => void told.push(event),
  )
  return { tell, told, passes: (ms: number) => void (nowMs += ms) }
}

it('the id is told at once, and once', () => {
  const { tell, told } = scene()
  tell({ handle: 'resp_1' })
  tell({ handle: 'resp_1', outputTokens: 3 })
  expect(told).toEqual([{ type: 'CALL_PROGRESSED', ...call, handle: 'resp_1', progress: null }])
})

it('numbers are told after 5, 20 and 65 s, however often they come', () => {
  const { tell, told, passes } = scene()
  const at: number[] = []
  for (let second = 1; second <= 70; second += 1) {
    passes(1_000)
    const before = told.length
    tell({ outputTokens: second })
    if (told.length > before) at.push(second)
  }
  expect(at).toEqual([5, 20, 65])
  expect(told[0]!.progress).toEqual({ outputTokens: 5 })
})

it.each([['' as string], ['a b'], ['x'.repeat(513)]])('the id %j is none', (handle) => {
  const { tell, told } = scene()
  tell({ handle })
  expect(told).toEqual([])
})

it('numbers that are none are left out', () => {
  const { tell, told, passes } = scene()
  passes(5_000)
  tell({ outputTokens: 0.5, fraction: 2 })
  expect(told).toEqual([{ type: 'CALL_PROGRESSED', ...call, handle: null, progress: null }])
})
