/** What is remembered of a snapshot never decides: a record that was stored and read again goes the same way. */
import { expect, test } from 'vitest'
import { advance, persist, restore, start } from '../../src/machines/advance.js'
import type { RecordEvent } from '../../src/machines/events.js'
import { call, failed, operator, succeeded, uncertain } from './life.js'
import { compile, pipeline, step } from './pipelines.js'

const { machine } = compile(pipeline([step('read', { use: ['free', 'keyed'] }), step('extract')]))

const started = (name: string, attempt: number, provider: string): RecordEvent => ({
  type: 'ATTEMPT_STARTED',
  ...call(name, attempt),
  provider,
  requestKey: 'k',
  sendBy: '2026-01-01T12:00:05.000Z',
})

const life: RecordEvent[] = [
  started('read', 1, 'free'),
  failed(call('read', 1)),
  { type: 'xstate.after.backoff of read.record.read.backoff' },
  started('read', 2, 'free'),
  uncertain(call('read', 2)),
  succeeded(call('read', 1)),
  succeeded(call('read', 2)),
  started('extract', 1, 'free'),
  operator('CANCEL'),
  succeeded(call('extract', 1)),
]

test('a snapshot that was stored and read takes every event as the live one does', () => {
  let live = start(machine).snapshot
  let read = live
  for (const event of life) {
    const stored: unknown = JSON.parse(JSON.stringify(persist(machine, read)))
    expect(stored).toEqual(persist(machine, live))
    const reread = restore(machine, stored)
    expect(reread).not.toBe(read)
    const [a, b] = [advance(machine, live, event), advance(machine, reread, event)]
    expect(b.actions, event.type).toEqual(a.actions)
    expect(b.changed, event.type).toBe(a.changed)
    live = a.snapshot
    read = b.snapshot
  }
  expect(live.value).toBe('cancelled')
})

test('what one event returns is not added to by the next', () => {
  const first = start(machine)
  const before = structuredClone(first.actions)
  const { snapshot, actions } = advance(machine, first.snapshot, started('read', 1, 'free'))
  const taken = structuredClone(actions)
  advance(machine, snapshot, succeeded(call('read', 1)))
  expect(start(machine)).toBe(first)
  expect(first.actions).toEqual(before)
  expect(actions).toEqual(taken)
})

test('a snapshot of another machine is read anew and refused where it does not fit', () => {
  const other = compile(pipeline([step('scan')])).machine
  const stored = persist(other, start(other).snapshot)
  expect(restore(other, stored)).toBe(start(other).snapshot)
  expect(() => restore(machine, stored)).toThrow('scan')
})
