// Makes MongoDB servers a replica set, once: `node replica-set.mjs NAME HOST:PORT…`. Ends well when the set has a primary,
// also when it had been made before.
import { setTimeout as pause } from 'node:timers/promises'
import { MongoClient } from 'mongodb'

const READY_TIMEOUT_MS = 60_000
const ALREADY_INITIALIZED = 23

const [name, ...hosts] = process.argv.slice(2)
if (name === undefined || hosts.length === 0) {
  console.error('Usage: node replica-set.mjs NAME HOST:PORT…')
  process.exit(2)
}

const initiate = async () => {
  const first = new MongoClient(`mongodb://${hosts[0]}/?directConnection=true`, { serverSelectionTimeoutMS: 5_000 })
  try {
    const members = hosts.map((host, _id) => ({ _id, host }))
    await first.db('admin').command({ replSetInitiate: { _id: name, members } })
  } catch (error) {
    if (error.code !== ALREADY_INITIALIZED) throw error
  } finally {
    await first.close()
  }
}

const hasPrimary = async () => {
  const set = new MongoClient(`mongodb://${hosts.join(',')}/?replicaSet=${name}`, { serverSelectionTimeoutMS: 5_000 })
  try {
    await set.db('admin').command({ ping: 1 }, { readPreference: 'primary' })
    return true
  } finally {
    await set.close()
  }
}

const deadlineMs = performance.now() + READY_TIMEOUT_MS
for (;;) {
  try {
    await initiate()
    if (await hasPrimary()) break
  } catch (error) {
    if (performance.now() > deadlineMs) {
      console.error(`The replica set ${name} has no primary after ${READY_TIMEOUT_MS} ms: ${error.message}`)
      process.exit(1)
    }
    await pause(500)
  }
}
console.log(`The replica set ${name} of ${hosts.join(', ')} has a primary.`)
