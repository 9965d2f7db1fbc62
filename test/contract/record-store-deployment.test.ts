/** A MongoDB on which the promises can't be kept is refused at startup, with the fix. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MongoClient } from 'mongodb'
import { MongoMemoryServer } from 'mongodb-memory-server'
import { describe, expect, inject, it } from 'vitest'
import { assertDeployment, assertSuitable } from '../../src/persistence/deployment.js'
import { freshDb } from '../support/servers.js'

describe('the deployment', () => {
  it('that is a replica set is taken', async () => {
    const { db, dispose } = await freshDb()
    try {
      await expect(assertDeployment(db)).resolves.toBeUndefined()
    } finally {
      await dispose()
    }
  })

  it('that is a standalone is refused', async () => {
    const dbPath = await mkdtemp(join(tmpdir(), 'endstate-standalone-'))
    const server = await MongoMemoryServer.create({
      binary: { systemBinary: inject('mongodPath'), version: inject('mongodVersion'), checkMD5: false },
      instance: { dbPath, storageEngine: 'wiredTiger' },
    })
    const client = new MongoClient(server.getUri())
    try {
      await expect(assertDeployment(client.db('x'))).rejects.toThrow(/standalone.*--replSet/s)
    } finally {
      await client.close()
      await server.stop({ doCleanup: true, force: true })
      await rm(dbPath, { recursive: true, force: true })
    }
  })

  it('that is too old is refused, also as a mongos', () => {
    const old = { maxWireVersion: 13, setName: 'rs' }
    expect(() => assertSuitable(old)).toThrow(/older than 6\.0 .*Upgrade/)
    expect(() => assertSuitable({ maxWireVersion: 13, msg: 'isdbgrid' })).toThrow('older than 6.0')
    expect(() => assertSuitable({ maxWireVersion: 17, msg: 'isdbgrid' })).not.toThrow()
  })
})
