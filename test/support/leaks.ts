/**
 * For every file on servers: children are reaped at its end, and a file that leaves a socket, a listener or a child
 * process behind fails. Connections may take a moment to close, so this waits for the condition.
 */
import { afterAll } from 'vitest'
import { reapChildren, waitFor } from './processes.js'

const LEAKS = new Set(['TCPSocketWrap', 'TCPServerWrap', 'ProcessWrap', 'FSEventWrap'])
const CLOSE_TIMEOUT_MS = 5_000

const open = (): string[] => process.getActiveResourcesInfo().filter((name) => LEAKS.has(name))
const atStart = open().length

// Hooks of this kind run in reverse order of registration: this one is registered first and runs last.
afterAll(async () => {
  await reapChildren()
  // fetch keeps its connections for a while; they are its own, not the test's.
  const dispatcher = (globalThis as { [key: symbol]: unknown })[Symbol.for('undici.globalDispatcher.1')]
  if (dispatcher instanceof Object && 'destroy' in dispatcher)
    await (dispatcher.destroy as () => Promise<void>).call(dispatcher)
  await waitFor(() => open().length <= atStart, {
    timeoutMs: CLOSE_TIMEOUT_MS,
    what: () => `this test file to close what it opened: ${open().join(', ')} still open`,
  })
})
