/**
 * The HTTP API on a real MongoDB and a real port. Every answer that a test sees was validated against the OpenAPI
 * document that the same server gives out.
 */
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js'
import addFormats from 'ajv-formats'
import { createAccept } from '../../src/ingest/accept.js'
import { newRecord } from '../../src/machines/new-record.js'
import type { RecordDocument } from '../../src/machines/record.js'
import type { BlobStore, RecordStore, Save } from '../../src/persistence/contract.js'
import { createGroupCommit } from '../../src/persistence/group-commit.js'
import { ensureIndexes } from '../../src/persistence/indexes.js'
import { createMongoBlobStore } from '../../src/persistence/mongo-blob-store.js'
import { createMongoRecordStore } from '../../src/persistence/mongo-record-store.js'
import { createServer } from '../../src/server/app.js'
import type { ServerDeps } from '../../src/server/contract.js'
import { loopbackIdentity } from '../../src/server/identify.js'
import { listen } from '../../src/server/listen.js'
import type { Clock } from '../../src/worker/contract.js'
import { createIds } from '../../src/worker/ids.js'
import { testPipelines } from '../ingest/accept-fixture.js'
import { freshDb, type FreshDb } from '../support/servers.js'

export type Answer = {
  status: number
  headers: Headers
  /** Parsed when the answer is JSON. */
  json: never
  text: string
  bytes: Buffer
}

export type Api = {
  url: string
  openapi: object
  store: RecordStore
  blobs: BlobStore
  db: FreshDb['db']
  announced: string[]
  logged: { facts: object; message: string }[]
  request(path: string, init?: RequestInit): Promise<Answer>
  post(path: string, body: unknown, headers?: { [name: string]: string }): Promise<Answer>
  /** Saves a change of a record, and tells those who wait for it. */
  change(id: string, change: Pick<Save, 'set'> & Partial<Pick<Save, 'steps' | 'charges'>>): Promise<RecordDocument>
  /** How many waits for a record are open. */
  waiting(): number
  records(): Promise<number>
  blobFiles(): Promise<{ files: number; chunks: number }>
  close(): Promise<void>
}

const clock: Clock = {
  now: () => new Date(),
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms)
      signal?.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
    }),
}

export async function startApi(changes: Partial<ServerDeps> = {}): Promise<Api> {
  const database = await freshDb('api')
  await ensureIndexes(database.db)
  const store = createMongoRecordStore(database.db)
  const blobs = createMongoBlobStore(database.db)
  const writer = createGroupCommit(store)
  const announced: string[] = []
  const logged: Api['logged'] = []
  const waiters = new Map<string, Set<() => void>>()
  const note = (facts: object, message: string) => void logged.push({ facts, message })

  const accept = createAccept({
    pipelines: testPipelines,
    records: writer,
    blobs,
    clock,
    ids: createIds(),
    makeRecord: newRecord,
    accepted: ({ _id }) => void announced.push(_id),
  })
  const server = createServer({
    accept,
    store,
    blobs,
    pipelines: testPipelines,
    describeMachine: ({ definition }) => ({ xstate: { id: definition.name }, mermaid: 'stateDiagram-v2\n' }),
    readiness: () => Promise.resolve({ ok: true, degraded: [] }),
    async settled(id, { signal, timeoutMs }) {
      const over = new AbortController()
      const woken = new Promise<void>((resolve) => {
        const waiting = waiters.get(id) ?? new Set()
        waiters.set(id, waiting.add(resolve))
        const forget = () => (waiting.delete(resolve), resolve())
        over.signal.addEventListener('abort', forget, { once: true })
      })
      await Promise.race([woken, clock.sleep(timeoutMs, AbortSignal.any([signal, over.signal]))])
      over.abort()
      return null
    },
    deliver: () => Promise.reject(new Error('These tests advance no record.')),
    webhook: () => Promise.resolve('unknown-provider'),
    clock,
    log: { error: note, warn: note },
    identify: loopbackIdentity,
    ...changes,
  })
  const listening = await listen(server.handler, { host: '127.0.0.1', port: 0 })
  const validate = answerValidator(server.openapi)

  const request: Api['request'] = async (path, init = {}) => {
    const response = await fetch(listening.url + path, init)
    const bytes = Buffer.from(await response.arrayBuffer())
    const text = bytes.toString()
    const isJson = /json/.test(response.headers.get('content-type') ?? '') && text !== ''
    const answer = { status: response.status, headers: response.headers, text, bytes, json: null as never }
    if (isJson) answer.json = JSON.parse(text) as never
    validate(init.method ?? 'GET', path, answer)
    return answer
  }

  return {
    url: listening.url,
    openapi: server.openapi,
    store,
    blobs,
    db: database.db,
    announced,
    logged,
    request,
    post: (path, body, headers = {}) =>
      request(path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      }),
    async change(id, { set, steps = {}, charges = {} }) {
      const [doc] = await store.load([id], { majority: true })
      if (!doc) throw new Error(`there is no record ${id}`)
      const version = doc.version + 1
      const entry = {
        version,
        writer: `test-${version}`,
        at: new Date(),
        event: { type: 'CANCEL', reason: 'test' } as const,
        from: 'read.ready',
        to: set.status ?? 'read.ready',
        by: 'operator:test',
      }
      const save = {
        id,
        expectedVersion: doc.version,
        writer: entry.writer,
        set,
        steps,
        charges,
        history: [entry],
        outbox: [],
      }
      const [outcome] = await store.save([save])
      if (outcome?.kind !== 'saved') throw new Error(`not saved: ${outcome?.kind}`)
      for (const wake of waiters.get(id) ?? []) wake()
      const [changed] = await store.load([id], { majority: true })
      return changed!
    },
    waiting: () => [...waiters.values()].reduce((sum, set) => sum + set.size, 0),
    records: () => database.db.collection('records').countDocuments(),
    async blobFiles() {
      const names = (await database.db.listCollections().toArray()).map(({ name }) => name)
      const count = (suffix: string) => {
        const name = names.find((each) => each.endsWith(suffix))
        return name === undefined ? 0 : database.db.collection(name).countDocuments()
      }
      return { files: await count('.files'), chunks: await count('.chunks') }
    },
    async close() {
      await listening.close({ graceMs: 2_000 })
      await writer.drain()
      await store.close()
      await database.dispose()
    },
  }
}

type Operation = { responses: { [status: string]: { content?: { [type: string]: object } } } }
type Document = { paths: { [path: string]: { [method: string]: Operation } } }

/** Throws unless the document describes the answer: its status, its content type and its body. */
function answerValidator(document: object): (method: string, path: string, answer: Answer) => void {
  const ajv = new Ajv2020({ strict: false, allErrors: true })
  addFormats.default(ajv)
  ajv.addSchema(document, 'openapi')
  const { paths } = document as Document
  const compiled = new Map<string, ValidateFunction>()

  return (method, path, { status, headers, json, text }) => {
    if (headers.get('content-type')?.startsWith('application/problem+json')) {
      const valid = ajv.getSchema('openapi#/components/schemas/Problem')!
      if (valid(json) !== true) throw new Error(`no valid problem: ${ajv.errorsText(valid.errors)} in ${text}`)
      if (status < 400) throw new Error(`a problem with status ${status}`)
      return
    }
    const pathname = new URL(path, 'http://x').pathname
    const template = Object.keys(paths).find((each) =>
      new RegExp(`^${each.replace(/\{\w+\}/g, '[^/]+')}$`).test(pathname),
    )
    if (template === undefined) throw new Error(`${pathname} is not documented, but was answered with ${status}`)
    const verb = method === 'HEAD' ? 'get' : method.toLowerCase()
    const response = paths[template]?.[verb]?.responses[String(status)]
    if (response === undefined) throw new Error(`${method} ${template} answered ${status}, which is not documented`)
    const type = headers.get('content-type')?.split(';', 1)[0]
    if (text === '') return
    const documented = Object.keys(response.content ?? {})
    const found = documented.find((each) => each === type || each === '*/*')
    if (found === undefined)
      throw new Error(`${method} ${template} answered ${type}; documented: ${documented.join(', ')}`)
    if (found !== 'application/json') return
    const pointer = ['paths', template, verb, 'responses', String(status), 'content', found, 'schema']
    const ref = `openapi#/${pointer.map((part) => encodeURIComponent(part.replace(/~/g, '~0').replace(/\//g, '~1'))).join('/')}`
    const valid = compiled.get(ref) ?? ajv.compile({ $ref: ref })
    compiled.set(ref, valid)
    if (valid(json) !== true)
      throw new Error(`${method} ${template} ${status}: ${ajv.errorsText(valid.errors)} in ${text}`)
  }
}
