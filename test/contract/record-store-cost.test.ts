/** What a batch costs on the wire: one command when it is applied whole, two more reads when one record is stale. */
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { RecordStore } from '../../src/persistence/contract.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { freshDb } from '../support/servers.js'
import type { FreshDb } from '../support/servers.js'
import { record, save } from './record-store-documents.js'

let fresh: FreshDb
let store: RecordStore
const commands: { name: string; writeConcern: unknown; readConcern: unknown }[] = []
beforeAll(async () => {
  fresh = await freshDb('cost', { monitorCommands: true })
  fresh.client.on('commandStarted', ({ commandName: name, command }) => {
    commands.push({ name, writeConcern: command['writeConcern'], readConcern: command['readConcern'] })
  })
  store = createMongoRecordStore(fresh.db)
})
afterAll(() => fresh.dispose())

const sent = async (run: () => Promise<unknown>) => {
  commands.length = 0
  await run()
  return commands.map(({ name }) => name)
}

it('inserts, saves and loads of 64 records are one command each, majority and journaled', async () => {
  const docs = Array.from({ length: 64 }, (_, n) => record(`r${n}`))
  expect(await sent(() => store.insert(docs))).toEqual(['insert'])
  expect(await sent(() => store.save(docs.map(({ _id }) => save(_id, 1))))).toEqual(['update'])
  expect(commands[0]?.writeConcern).toMatchObject({ w: 'majority', j: true })
  expect(await sent(() => store.load(docs.map(({ _id }) => _id)))).toEqual(['find'])
})

it('one stale record among 64 costs two majority reads', async () => {
  const docs = Array.from({ length: 64 }, (_, n) => record(`s${n}`))
  await store.insert(docs)
  await store.save([save('s3', 1)])
  expect(await sent(() => store.save(docs.map(({ _id }) => save(_id, 1))))).toEqual(['update', 'find', 'find'])
  for (const { readConcern } of commands.slice(1)) expect(readConcern).toMatchObject({ level: 'majority' })
})
