/** Submissions over NATS while the server dies, comes back, and comes back empty. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'nats'
import { expect, it } from 'vitest'
import { createNatsIngest } from '../../src/ingest/nats.js'
import { waitFor } from '../support/processes.js'
import { startNats } from '../support/servers.js'
import { acceptBench } from './accept-fixture.js'
import { quiet } from './nats-bench.js'

it('loses nothing when the server is killed, and goes on when its storage was wiped', async () => {
  const storage = await mkdtemp(join(tmpdir(), 'endstate-ingest-'))
  const server = await startNats(['--store_dir', storage])
  const again = { maxReconnectAttempts: -1, reconnectTimeWait: 50, reconnectJitter: 0 }
  const nc = await connect({ servers: server.url, ...again })
  const client = await connect({ servers: server.url, ...again })
  const bench = acceptBench()
  let down = true
  const ingest = await createNatsIngest({
    nc,
    accept: async (submission) => {
      if (down) throw new Error('storage is away')
      return bench.accept(submission)
    },
    log: quiet,
    ackWaitMs: 2_000,
  })
  const js = client.jetstream({ timeout: 2_000 })
  const subject = 'endstate.ingest.local.forms'
  for (let i = 0; i < 5; i++) await js.publish(subject, `{"n":${i}}`)
  await server.signal('SIGKILL')
  await server.start()
  down = false
  await waitFor(async () => (await bench.all()).length === 5, { what: 'the five records', timeoutMs: 30_000 })

  await server.stop()
  await rm(storage, { recursive: true })
  await server.start()
  const publish = () =>
    js.publish(subject, '{"n":"after"}').then(
      () => true,
      () => false,
    )
  await waitFor(publish, { what: 'a publish', timeoutMs: 15_000 })
  await waitFor(async () => (await bench.all()).length >= 6, { what: 'the record after', timeoutMs: 15_000 })
  const receipt = await client.request('endstate.submit.local.forms', '{}', { timeout: 5_000 })
  expect(receipt.json()).toMatchObject({ duplicate: false })

  await ingest.close()
  await client.close()
  await nc.close()
  await server.dispose()
  await rm(storage, { recursive: true })
})
