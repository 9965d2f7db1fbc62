/** The way in over a real nats-server, with the real accept() on memory storage, and what came back in reach. */
import { headers, type MsgHdrs, type NatsConnection, type PubAck } from 'nats'
import type { Accept } from '../../src/ingest/contract.js'
import { createNatsIngest, type NatsIngest } from '../../src/ingest/nats.js'
import { ingestNames, type IngestNames } from '../../src/ingest/nats-names.js'
import { waitFor } from '../support/processes.js'
import { freshNats } from '../support/servers.js'
import { acceptBench, type AcceptBench } from './accept-fixture.js'

type Answer = { [field: string]: unknown; error?: { code: string; detail: string }; id?: string }

export type NatsBench = {
  nc: NatsConnection
  names: IngestNames
  bench: AcceptBench
  ingest: NatsIngest
  request(
    pipeline: string,
    body: string | Uint8Array,
    set?: { [header: string]: string },
    source?: string,
  ): Promise<Answer>
  publish(
    pipeline: string,
    body: string | Uint8Array,
    set?: { [header: string]: string },
    source?: string,
  ): Promise<PubAck>
  /** The answers on the receipts subject so far, oldest first. */
  receipts(source?: string): Promise<Answer[]>
  waitForReceipts(count: number, source?: string): Promise<Answer[]>
  /** How many submissions of the source still wait for their ack. */
  unanswered(source?: string): Promise<number>
  refused(source?: string): Promise<{ headers: MsgHdrs; data: Uint8Array }[]>
  dispose(): Promise<void>
}

export type NatsBenchOptions = {
  sources?: string[]
  concurrency?: number
  wrap?(accept: Accept): Accept
  /** Before the ingest starts. */
  prepare?(nc: NatsConnection, names: IngestNames): Promise<void>
}

export const quiet = { info: () => undefined, warn: () => undefined }

function headersOf(set: { [header: string]: string }): MsgHdrs {
  const made = headers()
  for (const [name, value] of Object.entries(set)) made.append(name, value)
  return made
}

export async function natsBench(options: NatsBenchOptions = {}): Promise<NatsBench> {
  const { connection: nc, prefix, dispose } = await freshNats('ingest')
  const names = ingestNames(prefix)
  await options.prepare?.(nc, names)
  const bench = acceptBench()
  const js = nc.jetstream()
  const jsm = await nc.jetstreamManager()
  const ingest = await createNatsIngest({
    nc,
    accept: options.wrap?.(bench.accept) ?? bench.accept,
    prefix,
    log: quiet,
    ...(options.sources === undefined ? {} : { sources: options.sources }),
    ...(options.concurrency === undefined ? {} : { concurrency: options.concurrency }),
  })

  async function all(stream: string, subject: string): Promise<{ headers: MsgHdrs; data: Uint8Array }[]> {
    const { state } = await jsm.streams.info(stream)
    const found: { headers: MsgHdrs; data: Uint8Array }[] = []
    for (let seq = state.first_seq; seq <= state.last_seq && state.messages > 0; seq++) {
      const message = await jsm.streams.getMessage(stream, { seq })
      if (message.subject === subject) found.push({ headers: message.header, data: message.data })
    }
    return found
  }
  async function receipts(source = 'local'): Promise<Answer[]> {
    const messages = await all(names.receiptsStream, names.receipts(source))
    return messages.map(({ data }) => JSON.parse(new TextDecoder().decode(data)) as Answer)
  }

  return {
    nc,
    names,
    bench,
    ingest,
    async request(pipeline, body, set = {}, source = 'local') {
      const answer = await nc.request(`${prefix}.submit.${source}.${pipeline}`, body, {
        timeout: 10_000,
        headers: headersOf(set),
      })
      return answer.json<Answer>()
    },
    publish: (pipeline, body, set = {}, source = 'local') =>
      js.publish(`${prefix}.ingest.${source}.${pipeline}`, body, { headers: headersOf(set) }),
    receipts,
    async waitForReceipts(count, source = 'local') {
      const found = await waitFor(
        async () => {
          const answers = await receipts(source)
          return answers.length >= count ? answers : null
        },
        { what: `${count} receipts` },
      )
      return found
    },
    async unanswered(source = 'local') {
      const { state } = await jsm.streams.info(names.ingestStream(source))
      return state.messages
    },
    refused: (source = 'local') => all(names.refusedStream, names.refused(source)),
    async dispose() {
      await ingest.close()
      await dispose()
    },
  }
}
