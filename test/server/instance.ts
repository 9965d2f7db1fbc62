/** One whole Endstate in the test's process, on real servers, its API on a port, a model beside it. */
import { MongoClient } from 'mongodb'
import type { EndstateConfig, EndstateInstance } from '../../src/index.js'
import { createEndstate } from '../../src/index.js'
import { listen } from '../../src/server/listen.js'
import type { ProviderProcess } from '../support/provider-process.js'
import { startProviderProcess } from '../support/provider-process.js'
import { freshDb, freshNats } from '../support/servers.js'

export type RunningInstance = {
  provider: ProviderProcess
  instance: EndstateInstance
  url: string
  close(): Promise<void>
}

/** `configOf`: for the model's address. */
export const startInstance = async (configOf: (url: string) => EndstateConfig): Promise<RunningInstance> => {
  const provider = await startProviderProcess()
  const db = await freshDb()
  const nats = await freshNats()
  const instance = await createEndstate(configOf(provider.url), {
    mongo: db.client as MongoClient,
    database: db.db.databaseName,
    nats: nats.connection,
    roles: ['api', 'worker', 'sweeper'],
    prefix: nats.prefix,
    secrets: () => undefined,
  })
  await instance.start()
  const listening = await listen((req, res) => instance.handler(req, res), { host: '127.0.0.1', port: 0 })
  return {
    provider,
    instance,
    url: listening.url,
    async close() {
      // A call that hangs would hold the end back.
      await provider.control({ release: true })
      await listening.close({ graceMs: 500 })
      await instance.close()
      await Promise.all([db.dispose(), nats.dispose(), provider.stop()])
    },
  }
}
