/** What the port demands of `build` and `call`, one check per demand. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo } from 'node:net'
import type { Fault } from './faulty-server.js'
import { startFaultyServer } from './faulty-server.js'
import type { AnswerBytes } from './http-text.js'
import { assertKind, errorOf, later, REQUEST_KEY, SETTLE_MS_MAX, within, withRig, type Rig } from './rig.js'
import type { Check, ProtocolResponse, ProviderSubject, Uncertain } from './subject.js'

/**
 * What an answer that came in part may be. Lost for certain is only what nothing can be asked about: elsewhere a failure
 * that is certain would call, and pay, again. A stream may have told its job's id before the cut.
 */
const inDoubt = ({ provider }: Rig): string[] => {
  const { recovery } = provider.terms
  if (recovery === 'blind' || recovery === 'in-flight') return ['unknown', 'partial']
  return recovery === 'job' ? ['unknown', 'accepted'] : ['unknown']
}

export const callChecks = (subject: ProviderSubject): Check[] => {
  const check = (name: string, use: (rig: Rig) => Promise<void>): Check => ({
    name,
    run: () => withRig(subject, use),
  })
  return [
    check('a right answer succeeds, by one request', succeeds),
    check('the request is built the same twice, and without the network', buildsTheSame),
    { name: 'a connection that is refused is not executed', run: () => refused(subject) },
    ...(['reset', 'close'] as const).map((how) =>
      check(`a request that was read, then a ${how}, is unknown`, (rig) => readAndCut(rig, how)),
    ),
    check('an answer that is cut at any byte never succeeds', cutAnywhere),
    check('a provider that hangs is unknown, soon after the signal aborts', (rig) => hangs(rig, () => 0)),
    check('a provider that hangs within its headers is unknown', (rig) => hangs(rig, ({ headEnd }) => headEnd - 5)),
    check('a provider that hangs within its answer never succeeds', (rig) => hangs(rig, ({ headEnd }) => headEnd + 1)),
    check('a signal that is aborted already sends nothing', abortedBefore),
    check('headers and answers that come a few bytes at a time succeed', drips),
    check('429 is not executed, and its Retry-After is passed on', tooMany),
    ...([500, 503] as const).map((status) =>
      check(`${status} is as uncertain as it is documented`, (rig) => serverError(rig, status)),
    ),
    check('a 200 without content never succeeds', (rig) => useless(rig, { status: 200, body: '' })),
    check('a 200 that is no JSON never succeeds', (rig) =>
      useless(rig, { status: 200, headers: { 'content-type': 'text/html' }, body: `<p>${subject.content[0]}</p>` }),
    ),
    check('a refusal that quotes the content is not passed on', refusalWithContent),
    check('a redirect is not followed', redirect),
    check('a repeat has the same bytes and the same key', repeats),
    check('close leaves no connection', closes),
  ]
}

async function succeeds(rig: Rig): Promise<void> {
  const answer = await rig.call()
  assertKind(
    answer,
    rig.provider.terms.recovery === 'job' ? ['accepted', 'succeeded'] : ['succeeded'],
    'a right answer',
  )
  const end = await rig.finish(answer)
  assert.equal(end.kind, 'succeeded', `the end of a right call is ${end.kind}${'code' in end ? ` (${end.code})` : ''}`)
  if (end.kind === 'succeeded') assert.deepEqual(end.output, rig.subject.output)
  assert.equal(rig.starts().length, 1, 'one call must send exactly one POST or PUT')
}

async function buildsTheSame({ provider, parts, server }: Rig): Promise<void> {
  if (provider.build === undefined) return
  const [first, second] = [await provider.build(parts()), await provider.build(parts())]
  assert.equal(first.contentType, second.contentType)
  assert(
    Buffer.from(first.body).equals(Buffer.from(second.body)),
    'build must answer the same bytes for the same parts',
  )
  assert.equal(server.requests.length, 0, 'build must not use the network')
}

async function refused(subject: ProviderSubject): Promise<void> {
  const closed = createServer().listen(0, '127.0.0.1')
  await once(closed, 'listening')
  const { port } = closed.address() as AddressInfo
  await new Promise((resolve) => closed.close(resolve))
  const use = async ({ call, provider }: Rig): Promise<void> => {
    const answer = await call()
    assertKind(answer, ['not-executed'], 'a refused connection')
    assert(answer.kind === 'not-executed' && answer.retryable, 'a refused connection may be tried again')
    if (provider.ready !== undefined) {
      const { ready } = await provider.ready(new AbortController().signal)
      assert.equal(ready, false, 'a provider that refuses connections is not ready')
    }
  }
  await withRig(subject, use, `http://127.0.0.1:${port}`)
}

async function readAndCut(rig: Rig, how: 'reset' | 'close'): Promise<void> {
  rig.server.faults = { starts: { kind: 'read-and-cut', how } }
  assertKind(await rig.call(), ['unknown'], 'a request that was read and cut')
  // Closed first: a repeat that was still to come would have been sent or dropped by now.
  await rig.provider.close()
  assert.equal(rig.starts().length, 1, 'a call whose connection breaks must not be sent again')
}

const CUTS_MAX = 40

/** Around 40 places of an answer, its borders among them. */
export function cutsOf({ headEnd, contentEnd }: AnswerBytes): number[] {
  const step = Math.max(1, Math.ceil(contentEnd / CUTS_MAX))
  const places = Array.from({ length: Math.ceil(contentEnd / step) }, (_, index) => index * step)
  return [...new Set([...places, headEnd - 1, headEnd, headEnd + 1, contentEnd - 1])]
    .filter((place) => place > 0 && place < contentEnd)
    .sort((a, b) => a - b)
}

async function cutAnywhere(rig: Rig): Promise<void> {
  await rig.call({ requestKey: `${REQUEST_KEY}.whole` })
  const whole = rig.server.answers[0]!
  let calls = rig.starts().length
  for (const afterBytes of cutsOf(whole)) {
    rig.server.faults = { starts: { kind: 'cut', afterBytes, how: afterBytes % 2 === 0 ? 'close' : 'reset' } }
    // As long as the key before: a provider may tell it again in its answer, whose length is counted on.
    const answer = await rig.call({ requestKey: `${REQUEST_KEY}.${String(afterBytes).padStart('whole'.length, '0')}` })
    const where = `an answer cut after ${afterBytes} of its ${whole.bytes.length} bytes`
    assertKind(answer, afterBytes < whole.headEnd ? ['unknown'] : inDoubt(rig), where)
    calls += 1
    assert.equal(rig.starts().length, calls, 'a call whose answer is cut must not be sent again')
  }
}

async function hangs(rig: Rig, place: (whole: AnswerBytes) => number): Promise<void> {
  await rig.call({ requestKey: `${REQUEST_KEY}.whole` })
  const [whole] = rig.server.answers
  const [requests, afterBytes] = [rig.server.requests.length, place(whole!)]
  rig.server.faults = { starts: { kind: 'hang', afterBytes } }
  const abort = new AbortController()
  const calling = later(rig.call({ signal: abort.signal }))
  await within(rig.server.sent(requests + 1), SETTLE_MS_MAX * 2, 'the request to arrive')
  abort.abort('the deadline')
  const answer = await within(calling, SETTLE_MS_MAX, 'the call to settle after its signal aborted')
  assertKind(answer, afterBytes < whole!.headEnd ? ['unknown'] : inDoubt(rig), 'a call that was ended')
}

async function abortedBefore(rig: Rig): Promise<void> {
  assertKind(await rig.call({ signal: AbortSignal.abort('stopped') }), ['not-executed', 'unknown'], 'an ended call')
  await rig.provider.close()
  assert.equal(rig.server.requests.length, 0, 'a call that was ended before it began must send nothing')
}

async function drips(rig: Rig): Promise<void> {
  const drip: Fault = { kind: 'drip', bytes: 7 }
  rig.server.faults = { starts: drip, asks: drip }
  const end = await rig.finish(await rig.call())
  assertKind(end, ['succeeded'], 'a slow answer')
  if (end.kind === 'succeeded') assert.deepEqual(end.output, rig.subject.output)
}

async function tooMany(rig: Rig): Promise<void> {
  const response = { status: 429, headers: { 'retry-after': '7' }, json: errorOf(rig.subject, 429) }
  rig.server.faults = { starts: { kind: 'instead', response } }
  const answer = await rig.call()
  assertKind(answer, ['not-executed'], '429')
  if (answer.kind !== 'not-executed') return
  assert(answer.retryable, '429 may be tried again')
  assert.equal(answer.retryAfterMs, 7000, 'Retry-After must be passed on')
  assert.equal(rig.starts().length, 1, 'a refused call must not be sent again by the adapter')
}

async function serverError(rig: Rig, status: 500 | 503): Promise<void> {
  rig.server.faults = { starts: { kind: 'instead', response: { status, json: errorOf(rig.subject, status) } } }
  const documented: Uncertain = rig.subject.documented?.[status] ?? 'unknown'
  assertKind(await rig.call(), [documented], `${status}`)
  assert.equal(rig.starts().length, 1, 'a failed call must not be sent again by the adapter')
}

async function useless(rig: Rig, response: ProtocolResponse): Promise<void> {
  rig.server.faults = { starts: { kind: 'instead', response } }
  assertKind(await rig.call(), ['unknown', 'partial'], 'an answer without a result')
}

async function refusalWithContent(rig: Rig): Promise<void> {
  rig.server.faults = { starts: { kind: 'instead', response: { status: 400, json: errorOf(rig.subject, 400) } } }
  // What it holds is looked at by the rig (G1).
  assertKind(await rig.call(), ['not-executed', 'executed'], '400')
}

async function redirect(rig: Rig): Promise<void> {
  const elsewhere = await startFaultyServer(() => ({ status: 200, json: {} }))
  try {
    const response = { status: 307, headers: { location: `${elsewhere.url}/x` } }
    rig.server.faults = { starts: { kind: 'instead', response } }
    assertKind(await rig.call(), ['not-executed', 'unknown'], 'a redirect')
    await rig.provider.close()
    assert.equal(elsewhere.requests.length, 0, 'the credentials must not go to another host')
  } finally {
    await elsewhere.close()
  }
}

async function repeats(rig: Rig): Promise<void> {
  const { recovery, findsByToken } = rig.provider.terms
  await rig.call()
  await rig.call()
  const [first, second] = rig.starts()
  assert(first !== undefined && second !== undefined, 'two calls must send two requests')
  assert(first.body.equals(second.body), 'a repeat under the same key must have the same bytes')
  assert.equal(first.path, second.path)
  if (recovery !== 'idempotent' && recovery !== 'in-flight' && !findsByToken) return
  for (const { path, headers, body } of [first, second]) {
    const places = [decodeURIComponent(path), ...Object.values(headers), body.toString('utf8')]
    assert(
      places.some((place) => place.includes(REQUEST_KEY)),
      `a provider that is ${recovery} must be told the request key`,
    )
  }
}

async function closes(rig: Rig): Promise<void> {
  await rig.call()
  await rig.provider.close()
  await within(rig.server.quiet(), SETTLE_MS_MAX, 'the connections to be closed')
}
