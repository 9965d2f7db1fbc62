import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMemoryRecordStore } from '../../src/persistence/memory-record-store.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { freshDb } from '../support/servers.js'
import { recordStoreSuite } from './record-store-suite.js'

const sinks = ['nats', 'audit']

recordStoreSuite('memory', async () => ({
  store: createMemoryRecordStore({ sinks }),
  dispose: async () => {},
}))

recordStoreSuite('MongoDB', async () => {
  const { db, dispose } = await freshDb('records')
  await ensureIndexes(db, { sinks })
  return { store: createMongoRecordStore(db, { sinks }), dispose }
})
