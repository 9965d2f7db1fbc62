/** Contents by reference to a NATS object store. */
import { afterEach, expect, it } from 'vitest'
import type { NatsConnection } from 'nats'
import { uniqueName } from '../support/servers.js'
import { largePng, MIB } from './accept-fixture.js'
import { natsBench, type NatsBench } from './nats-bench.js'

const buckets: (() => Promise<unknown>)[] = []
let bench: NatsBench | null = null
afterEach(async () => {
  for (const destroy of buckets.splice(0)) await destroy()
  await bench?.dispose()
  bench = null
})

async function bucketOf(nc: NatsConnection, name: string) {
  const store = await nc.jetstream().views.os(name)
  buckets.push(() => store.destroy())
  return store
}

it('streams an object of many chunks into one record', async () => {
  const source = uniqueName('src')
  bench = await natsBench({ sources: [source] })
  const bytes = largePng(5 * MIB)
  const store = await bucketOf(bench.nc, `${source}_films`)
  await store.putBlob({ name: 'ward 7/film.png' }, bytes)
  await bench.publish('films', '', { 'Endstate-Object': `${source}_films/ward 7/film.png` }, source)
  const [answer] = await bench.waitForReceipts(1, source)
  expect(answer?.error).toBeUndefined()
  const [record] = await bench.bench.all()
  expect(record?.input).toMatchObject({
    mediaType: 'image/png',
    fileName: 'film.png',
    encoding: 'blob',
    payload: { bytes: bytes.length },
  })
})

it('refuses what it can not or may not read, naming why', async () => {
  const source = uniqueName('src')
  bench = await natsBench({ sources: [source] })
  const { nc, request } = bench
  const store = await bucketOf(nc, source)
  const foreign = await bucketOf(nc, uniqueName('foreign'))
  await foreign.putBlob({ name: 'x' }, largePng(1_000))
  await store.putBlob({ name: 'deleted' }, largePng(1_000))
  await store.delete('deleted')
  const foreignBucket = (await foreign.status()).bucket
  const ask = async (reference: string): Promise<string> => {
    const { error } = await request('films', '', { 'Endstate-Object': reference }, source)
    return error?.detail ?? 'accepted'
  }
  expect(await ask(`${foreignBucket}/x`)).toContain('not open to source')
  expect(await ask(`${source}/missing`)).toContain('no object of that name')
  expect(await ask(`${source}/deleted`)).toContain('deleted')
  expect(await ask(`${source}_none/x`)).toContain('no object of that name')
  expect(await bench.bench.blobCount()).toBe(0)
})

it('refuses an object whose bytes are not those of its digest', async () => {
  const source = uniqueName('src')
  bench = await natsBench({ sources: [source] })
  const { nc, request } = bench
  const store = await bucketOf(nc, source)
  const info = await store.putBlob({ name: 'film' }, largePng(300_000))
  const jsm = await nc.jetstreamManager()
  const chunk = await jsm.streams.getMessage(`OBJ_${source}`, { last_by_subj: `$O.${source}.C.${info.nuid}` })
  await jsm.streams.deleteMessage(`OBJ_${source}`, chunk.seq)
  await nc.jetstream().publish(
    `$O.${source}.C.${info.nuid}`,
    chunk.data.map((byte) => byte ^ 1),
  )
  const { error } = await request('films', '', { 'Endstate-Object': `${source}/film` }, source)
  expect(error).toMatchObject({ code: 'broken-upload' })
  expect(await bench.bench.blobCount()).toBe(0)
})
