/** Submissions over a real nats-server: requests, streams, refusals, redelivery. */
import { afterEach, describe, expect, it } from 'vitest'
import { Refusal, type Accept } from '../../src/ingest/contract.js'
import { waitFor } from '../support/processes.js'
import { PNG } from './accept-fixture.js'
import { natsBench, type NatsBench, type NatsBenchOptions } from './nats-bench.js'

let open: NatsBench[] = []
async function start(options?: NatsBenchOptions): Promise<NatsBench> {
  const made = await natsBench(options)
  open.push(made)
  return made
}
afterEach(async () => {
  for (const each of open) await each.dispose()
  open = []
})

const unavailable = (): Refusal => new Refusal('unavailable', 503, 'The storage is away.')
const until = async (condition: () => boolean | Promise<boolean>, what: string): Promise<void> => {
  await waitFor(condition, { what })
}

describe('A request', () => {
  it('is answered with the receipt of a record that is there', async () => {
    const { request, bench } = await start()
    const set = { 'Idempotency-Key': 'k', 'Endstate-Meta-ward': '7', 'Endstate-Filename': 'scan.png' }
    const receipt = await request('scans', PNG, set)
    const [record] = await bench.all()
    expect(receipt).toEqual({
      id: record?._id,
      version: 1,
      status: 'processing',
      settlesBy: record?.settlesBy.toISOString(),
      duplicate: false,
    })
    expect(record).toMatchObject({
      source: 'local',
      via: 'nats-request',
      key: 'k',
      metadata: { ward: '7' },
      input: { mediaType: 'image/png', fileName: 'scan.png' },
    })
  })

  it('is one record for one key, 100 times at once', async () => {
    const { request, bench } = await start()
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => request('forms', '{"a":1}', { 'Idempotency-Key': 'same' })),
    )
    expect(new Set(answers.map(({ id }) => id)).size).toBe(1)
    expect(answers.filter(({ duplicate }) => duplicate === false).length).toBe(1)
    expect((await bench.all()).length).toBe(1)
  })

  it('without a key is its own record, whatever Nats-Msg-Id says', async () => {
    const { request, bench } = await start()
    await request('forms', '{}', { 'Nats-Msg-Id': 'same' })
    await request('forms', '{}', { 'Nats-Msg-Id': 'same' })
    expect((await bench.all()).map(({ key }) => key)).toEqual([null, null])
  })

  it('that is refused is answered with the problem', async () => {
    const { request, bench } = await start()
    await request('forms', '{"a":1}', { 'Idempotency-Key': 'k' })
    const answers = await Promise.all([
      request('nowhere', '{}'),
      request('forms', '{"a":2}', { 'Idempotency-Key': 'k' }),
      request('forms', ''),
      request('forms', '{}', {}, 'Clinic'),
      request('forms.more', '{}'),
    ])
    expect(answers.map(({ error }) => error?.code)).toEqual([
      'unknown-pipeline',
      'key-conflict',
      'empty-input',
      'invalid-submission',
      'invalid-submission',
    ])
    expect(answers[1]?.error).toMatchObject({ status: 422, record: (await bench.all())[0]?._id })
    expect(answers[4]?.error?.detail).toContain('submit.local.PIPELINE')
  })

  it('that cannot be answered now is told so, without the cause', async () => {
    const { request } = await start({
      wrap: () => async () => {
        throw new Error('mongodb://secret')
      },
    })
    const { error } = await request('forms', '{}')
    expect(error).toMatchObject({ code: 'unavailable', status: 503 })
    expect(JSON.stringify(error)).not.toContain('secret')
  })

  it('without a reply subject is answered on the receipts subject', async () => {
    const { nc, names, waitForReceipts } = await start()
    nc.publish(names.submitAll.replace('>', 'local.forms'), '{}')
    const [answer] = await waitForReceipts(1)
    expect(answer).toMatchObject({ status: 'processing', duplicate: false })
  })

  it('of a flooding source leaves room for another', async () => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    const { request } = await start({
      wrap: (accept) => async (submission) => {
        if (submission.source === 'flood') await held
        return accept(submission)
      },
    })
    const flood = Array.from({ length: 600 }, () => request('forms', '{}', {}, 'flood'))
    const other = await request('forms', '{}', {}, 'other')
    expect(other.error).toBeUndefined()
    release()
    const refused = (await Promise.all(flood)).filter(({ error }) => error?.code === 'unavailable')
    expect(refused.length).toBe(600 - 512)
  })
})

describe('A stream', () => {
  it('is acked after the record is there, and the receipt names the submission', async () => {
    const { publish, waitForReceipts, unanswered, bench } = await start()
    const { seq } = await publish('forms', '{"a":1}', { 'Idempotency-Key': 'k' })
    const [answer] = await waitForReceipts(1)
    const [record] = await bench.all()
    expect(record).toMatchObject({ via: 'nats-stream', key: 'k', source: 'local' })
    expect(answer).toMatchObject({ id: record?._id, submission: { key: 'k', pipeline: 'forms', sequence: seq } })
    await until(async () => (await unanswered()) === 0, 'the ack')
  })

  it('makes the same record as a request with the same key', async () => {
    const { publish, request, waitForReceipts, bench } = await start()
    const receipt = await request('forms', '{"a":1}', { 'Idempotency-Key': 'k' })
    await publish('forms', '{ "a": 1 }', { 'Idempotency-Key': 'k' })
    const [answer] = await waitForReceipts(1)
    expect(answer).toMatchObject({ id: receipt.id, duplicate: true })
    expect((await bench.all()).length).toBe(1)
  })

  it('keeps a keyless submission one record when its answer was lost after the insert', async () => {
    let lost = 0
    const { publish, waitForReceipts, bench } = await start({
      wrap: (accept) => async (submission) => {
        const receipt = await accept(submission)
        if (lost++ === 0) throw unavailable()
        return receipt
      },
    })
    await publish('forms', '{"a":1}')
    await publish('forms', '{"a":1}')
    await waitForReceipts(2)
    expect(lost).toBe(3)
    expect((await bench.all()).length).toBe(2)
  })

  it('loses nothing while storage is down', async () => {
    let down = true
    let tries = 0
    const { publish, waitForReceipts, unanswered, bench } = await start({
      wrap: (accept) => (submission) => {
        tries += 1
        return down ? Promise.reject(unavailable()) : accept(submission)
      },
    })
    for (let i = 0; i < 20; i++) await publish('forms', `{"n":${i}}`)
    await until(() => tries >= 25, 'redeliveries')
    expect([await unanswered(), (await bench.all()).length]).toEqual([20, 0])
    down = false
    await waitForReceipts(20)
    expect((await bench.all()).length).toBe(20)
    await until(async () => (await unanswered()) === 0, 'the acks')
  })

  it('gives a message that is no submission back as a refusal, keeps it with its reason, and acks it', async () => {
    const { publish, waitForReceipts, refused, unanswered, bench } = await start()
    await publish('forms', '{"name":', { 'Content-Type': 'application/json', 'X-Ours': 'kept' })
    await publish('forms', '[]', { 'Content-Type': 'application/cloudevents+json' })
    await publish('forms.more', '{}')
    await publish('UPPER', '{}')
    const answers = await waitForReceipts(4)
    expect(answers.map(({ error }) => error?.code)).toEqual(Array(4).fill('invalid-submission'))
    expect(answers.every(({ error }) => (error?.detail.length ?? 0) > 20)).toBe(true)
    const kept = await refused()
    const first = kept.find(({ data }) => new TextDecoder().decode(data) === '{"name":')
    expect(first?.headers.get('X-Ours')).toBe('kept')
    expect(first?.headers.get('Endstate-Refusal-Code')).toBe('invalid-submission')
    expect(first?.headers.get('Endstate-Refusal-Reason')).toContain('not valid JSON')
    expect(kept.length).toBe(4)
    await until(async () => (await unanswered()) === 0, 'the acks')
    expect(await bench.all()).toEqual([])
  })

  it('keeps a refused message whole when the reason no longer fits beside it', async () => {
    const { nc, publish, waitForReceipts, refused } = await start()
    const body = Buffer.alloc((nc.info?.max_payload ?? 0) - 200, 'x')
    await publish('small', body, { 'Idempotency-Key': 'k' })
    const [answer] = await waitForReceipts(1)
    expect(answer?.error?.code).toBe('too-large')
    const parts = await refused()
    expect(parts.map(({ headers }) => headers.get('Endstate-Part'))).toEqual(['1/2', '2/2'])
    expect(Buffer.concat(parts.map(({ data }) => data)).equals(body)).toBe(true)
  })

  it('takes a CloudEvent by its id', async () => {
    const { publish, waitForReceipts, bench } = await start()
    const event = { specversion: '1.0', id: 'e-1', source: '/pacs', type: 'form', data: { a: 1 } }
    await publish('forms', JSON.stringify(event), { 'Content-Type': 'application/cloudevents+json' })
    await publish('forms', '{"a":1}', { 'ce-id': 'e-1', 'ce-specversion': '1.0' })
    const answers = await waitForReceipts(2)
    expect(new Set(answers.map(({ id }) => id)).size).toBe(1)
    expect((await bench.all()).map(({ key }) => key)).toEqual(['e-1'])
  })

  it('of a source that nobody configured is found', async () => {
    const { publish, waitForReceipts } = await start({
      async prepare(nc, names) {
        const jsm = await nc.jetstreamManager()
        await jsm.streams.add({
          name: names.ingestStream('clinic-b'),
          subjects: [names.ingestSubjects('clinic-b')],
          retention: 'workqueue' as never,
        })
      },
    })
    await publish('forms', '{}', {}, 'clinic-b')
    const [answer] = await waitForReceipts(1, 'clinic-b')
    expect(answer).toMatchObject({ duplicate: false })
  })

  it('of one source does not wait for another whose submissions hang', async () => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let hanging = 0
    const { publish, waitForReceipts } = await start({
      sources: ['slow', 'quick'],
      concurrency: 4,
      wrap: (accept) => async (submission) => {
        if (submission.source === 'slow') {
          hanging += 1
          await held
        }
        return accept(submission)
      },
    })
    for (let i = 0; i < 20; i++) await publish('forms', '{}', {}, 'slow')
    await until(() => hanging === 4, 'the slow source to fill its places')
    for (let i = 0; i < 10; i++) await publish('forms', '{}', {}, 'quick')
    await waitForReceipts(10, 'quick')
    expect(hanging).toBe(4)
    release()
    await waitForReceipts(20, 'slow')
  })

  it('that was deleted is made anew, and its first message is a new record', async () => {
    const { nc, names, publish, waitForReceipts, bench } = await start()
    await publish('forms', '{"a":1}')
    await waitForReceipts(1)
    const jsm = await nc.jetstreamManager()
    await jsm.streams.delete(names.ingestStream('local'))
    const ack = await waitFor(() => publish('forms', '{"a":1}').catch(() => null), {
      what: 'the stream',
      timeoutMs: 3_000,
    })
    expect(ack.seq).toBe(1)
    await waitForReceipts(2)
    expect((await bench.all()).length).toBe(2)
  })

  it('goes on after the answer streams were deleted', async () => {
    const { nc, names, publish, waitForReceipts, bench } = await start()
    const jsm = await nc.jetstreamManager()
    await jsm.streams.delete(names.receiptsStream)
    await jsm.streams.delete(names.refusedStream)
    await publish('forms', '{"a":1}')
    await until(async () => (await bench.all()).length === 1, 'the record')
    await until(() => jsm.streams.info(names.receiptsStream).then(Boolean, () => false), 'the receipts stream')
    expect((await waitForReceipts(1)).length).toBe(1)
    expect((await bench.all()).length).toBe(1)
  })
})

describe('Pause and close', () => {
  it('takes nothing while paused, and everything after resume', async () => {
    let taken = 0
    const { ingest, publish, request, nc, names, unanswered, waitForReceipts } = await start({
      wrap: (accept) => (submission) => {
        taken += 1
        return accept(submission)
      },
    })
    await ingest.pause()
    for (let i = 0; i < 5; i++) await publish('forms', '{}')
    await expect(nc.request(names.submitAll.replace('>', 'local.forms'), '{}')).rejects.toMatchObject({ code: '503' })
    expect([taken, await unanswered()]).toEqual([0, 5])
    ingest.resume()
    await waitForReceipts(5)
    expect((await request('forms', '{}')).error).toBeUndefined()
  })

  it('waits for what is in work', async () => {
    let release = (): void => undefined
    const held = new Promise<void>((resolve) => {
      release = resolve
    })
    let begun = 0
    const slow =
      (accept: Accept): Accept =>
      async (submission) => {
        begun += 1
        await held
        return accept(submission)
      }
    const { ingest, publish, request, receipts } = await start({ wrap: slow })
    await publish('forms', '{}')
    const answer = request('forms', '{}')
    await until(() => begun === 2, 'both submissions in work')
    let ended = false
    const closing = ingest.close().then(() => {
      ended = true
    })
    expect(ended).toBe(false)
    release()
    await closing
    expect((await answer).error).toBeUndefined()
    expect((await receipts()).length).toBe(1)
  })
})
