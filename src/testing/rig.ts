/**
 * One adapter against one faulty server, for one check: made fresh, and taken down whatever the check found.
 *
 * - G1 Every answer that comes through here is looked at for secrets and content, whatever the check is about.
 * - G2 Every wait has an end.
 */
import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import type { AskAnswer, CallAnswer, CallInput, CallRequest, Provider, Question } from '../providers/contract.js'
import type { ProviderFactory } from '../providers/contract.js'
import { startFaultyServer, startsWork, type FaultyServer } from './faulty-server.js'
import type { ProtocolRequest, ProviderSubject } from './subject.js'

export const REQUEST_KEY = 'rec-1.read.subject.1'
const WAIT_MS_MAX = 5000
/** How long an adapter may take to settle after the abort, and room for a busy machine. */
export const SETTLE_MS_MAX = 2000
const POLLS_MAX = 20

export type Rig = {
  subject: ProviderSubject
  server: FaultyServer
  factory: ProviderFactory
  provider: Provider
  parts(requestKey?: string): CallRequest
  call(options?: { requestKey?: string; signal?: AbortSignal }): Promise<CallAnswer>
  ask(question?: Partial<Question>, signal?: AbortSignal): Promise<AskAnswer>
  /** Asks until the job has ended; answers that are not `accepted` as they are. */
  finish(answer: CallAnswer | AskAnswer): Promise<AskAnswer>
  /** The requests that can start work. */
  starts(): ProtocolRequest[]
}

/** `baseUrl`: another address for the adapter than the server's. */
export async function withRig(
  subject: ProviderSubject,
  use: (rig: Rig) => Promise<void>,
  baseUrl?: string,
): Promise<void> {
  const started = await subject.protocol()
  const { protocol, close } = typeof started === 'function' ? { protocol: started, close: null } : started
  const server = await startFaultyServer(protocol)
  let provider: Provider | undefined
  try {
    const factory = subject.create(baseUrl ?? server.url)
    provider = factory.create('subject', { secret: (name) => secretOf(subject, name) })
    await use(createRig(subject, server, factory, provider))
  } finally {
    try {
      if (provider !== undefined) await within(provider.close(), WAIT_MS_MAX, 'the adapter to close')
    } finally {
      await server.close()
      await close?.()
    }
  }
}

export const secretOf = (subject: ProviderSubject, name: string): string =>
  subject.secrets?.[name] ?? `secret-value-of-${name}`

function createRig(subject: ProviderSubject, server: FaultyServer, factory: ProviderFactory, provider: Provider): Rig {
  const never = new AbortController().signal
  const rig: Rig = {
    subject,
    server,
    factory,
    provider,
    parts: (requestKey = REQUEST_KEY) => requestOf(subject, requestKey),
    async call({ requestKey, signal = never } = {}) {
      const request = rig.parts(requestKey)
      const built = (await provider.build?.(request)) ?? null
      const answer = await within(provider.call({ ...request, built }, signal), WAIT_MS_MAX, 'the call to settle')
      return clean(subject, answer)
    },
    async ask(question = {}, signal = never) {
      assert(provider.ask !== undefined, 'the adapter has no ask')
      const whole = { ...questionOf(REQUEST_KEY), ...question }
      return clean(subject, await within(provider.ask(whole, signal), WAIT_MS_MAX, 'the question to settle'))
    },
    async finish(answer) {
      let last: AskAnswer = answer
      for (let poll = 0; last.kind === 'accepted' && poll < (subject.pollsMax ?? POLLS_MAX); poll += 1)
        last = await rig.ask({ handle: last.handle })
      return last
    },
    starts: () => server.requests.filter(startsWork),
  }
  return rig
}

export const questionOf = (requestKey: string): Question => ({
  record: 'rec-1',
  step: 'read',
  attempt: 1,
  generation: 1,
  requestKey,
  handle: null,
  startedAt: new Date(),
  sendBy: new Date(),
  deadlineMs: WAIT_MS_MAX,
})

function requestOf(subject: ProviderSubject, requestKey: string): CallRequest {
  return {
    record: 'rec-1',
    source: 'local',
    pipeline: 'conformance',
    step: 'read',
    requestKey,
    input: jsonInput({ text: subject.content[0] }),
    request: undefined,
    outputSchema: { type: 'object' },
    outputs: {},
    ...subject.request,
    attempt: 1,
    generation: 1,
    deadlineMs: WAIT_MS_MAX,
    built: null,
    webhookUrl: null,
    onProgress: () => {},
  }
}

/** An input as the worker hands it in, of a JSON value. */
export function jsonInput(value: unknown): CallInput {
  const text = JSON.stringify(value)
  return {
    mediaType: 'application/json',
    fileName: null,
    bytesTotal: Buffer.byteLength(text),
    sha256: hash('sha256', text, 'hex'),
    bytes: () => Promise.resolve(Buffer.from(text)),
    json: () => Promise.resolve(JSON.parse(text) as unknown),
  }
}

/** An input as the worker hands it in, of bytes. */
export function bytesInput(mediaType: string, bytes: Uint8Array): CallInput {
  return {
    mediaType,
    fileName: null,
    bytesTotal: bytes.length,
    sha256: hash('sha256', bytes, 'hex'),
    bytes: () => Promise.resolve(bytes),
    json: () => Promise.reject(new Error('The input is no JSON.')),
  }
}

/** G1: what is kept of an answer besides its output. */
function clean<A extends CallAnswer | AskAnswer>(subject: ProviderSubject, answer: A): A {
  const told: { [name: string]: unknown } = { ...answer }
  delete told['output']
  assertSilent(subject, JSON.stringify(told), `an answer of kind ${answer.kind}`)
  return answer
}

export function assertSilent(subject: ProviderSubject, text: string, where: string): void {
  for (const word of subject.content) assert(!text.includes(word), `${where} holds a word of the content`)
  const secrets = [...Object.values(subject.secrets ?? {}), 'secret-value-of-']
  for (const secret of secrets) assert(!text.includes(secret), `${where} holds a secret`)
}

/** For work that is awaited later than it may fail. */
export function later<T>(work: Promise<T>): Promise<T> {
  work.catch(() => {})
  return work
}

/** Rejects where `work` has not settled in time. */
export async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new assert.AssertionError({ message: `Waited ${ms} ms for ${what}.` })), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** An error in the provider's form, whose message quotes the content, as some do. */
export function errorOf({ content, error }: ProviderSubject, status: number): unknown {
  const message = `it is about ${content.join(' and ')}`
  return error === undefined ? { error: { message } } : error(status, message)
}

export function assertKind(answer: CallAnswer | AskAnswer, kinds: readonly string[], when: string): void {
  const code = 'code' in answer ? ` (${answer.code})` : ''
  assert(kinds.includes(answer.kind), `${when} must be ${kinds.join(' or ')}, not ${answer.kind}${code}`)
}
