/** What the port demands of `ask`, `cancel` and of webhooks. Only for adapters that have them. */
import assert from 'node:assert/strict'
import type { AskAnswer, WebhookDelivery, WebhookReader } from '../providers/contract.js'
import { cutsOf } from './call-checks.js'
import type { Fault } from './faulty-server.js'
import {
  assertKind,
  assertSilent,
  errorOf,
  later,
  questionOf,
  REQUEST_KEY,
  secretOf,
  SETTLE_MS_MAX,
  within,
  withRig,
  type Rig,
} from './rig.js'
import type { Check, ProviderSubject } from './subject.js'

export const askChecks = (subject: ProviderSubject): Check[] => {
  const factory = subject.create('http://127.0.0.1:9')
  const { recovery, findsByToken } = factory.terms('subject')
  const check = (name: string, use: (rig: Rig) => Promise<void>): Check => ({ name, run: () => withRig(subject, use) })
  const asks = recovery === 'job' || recovery === 'retrievable'
  return [
    check('what the terms promise has its means', hasMeans),
    ...(asks
      ? [
          check('asking starts nothing', startsNothing),
          check('a question without an answer is unknown', unanswered),
          check('an answer to a question that is cut at any byte is unknown', cutQuestion),
          check('a question that hangs is unknown, soon after the signal aborts', hangingQuestion),
        ]
      : []),
    ...(asks && findsByToken
      ? [
          check('a call whose answer was lost is found again by our key', findsLost),
          check('a call that never arrived is missing', neverArrived),
        ]
      : []),
    check('cancelling sends at most one request, and settles', cancels),
    ...(factory.webhook === undefined
      ? []
      : [{ name: 'a webhook is verified on its raw bytes', run: () => verifiesWebhooks(subject) }]),
  ]
}

function hasMeans({ provider, factory }: Rig): Promise<void> {
  const { terms } = provider
  assert.deepEqual(terms, factory.terms('subject'), 'the provider must have the terms that its factory tells')
  assert(Number.isInteger(provider.slots) && provider.slots >= 1, 'slots must be 1 or more')
  const asks = terms.recovery === 'job' || terms.recovery === 'retrievable'
  assert.equal(
    provider.ask !== undefined,
    asks,
    `a provider that is ${terms.recovery} must ${asks ? '' : 'not '}have ask`,
  )
  if (terms.recovery === 'idempotent') assert(terms.keyTtlMs > 0, 'an idempotent provider must say for how long')
  if (terms.cost === 'free') assert.equal(terms.spendMax, null, 'a free provider has no spendMax')
  return Promise.resolve()
}

/** A call that ran, and how it is asked about. */
async function ran(rig: Rig): Promise<{ handle: string | null }> {
  let told: string | null = null
  const request = rig.parts()
  const built = (await rig.provider.build?.(request)) ?? null
  const onProgress = ({ handle }: { handle?: string }): void => void (told = handle ?? told)
  const answer = await rig.provider.call({ ...request, built, onProgress }, new AbortController().signal)
  return { handle: answer.kind === 'accepted' ? answer.handle : (answer.handle ?? told) }
}

async function startsNothing(rig: Rig): Promise<void> {
  const { handle } = await ran(rig)
  const before = rig.starts().length
  await rig.ask({ handle })
  if (rig.provider.terms.findsByToken) await rig.ask({ handle: null })
  assert.equal(rig.starts().length, before, 'asking must send no POST and no PUT')
}

async function unanswered(rig: Rig): Promise<void> {
  const { handle } = await ran(rig)
  const instead = (status: number): Fault => ({
    kind: 'instead',
    response: { status, json: errorOf(rig.subject, status) },
  })
  const faults: [string, Fault][] = [
    ['a question that was read and cut', { kind: 'read-and-cut', how: 'reset' }],
    ['a question that was read and closed', { kind: 'read-and-cut', how: 'close' }],
    ...[401, 403, 429, 500, 503].map((status): [string, Fault] => [`a question answered ${status}`, instead(status)]),
    ['a question answered by no JSON', { kind: 'instead', response: { status: 200, body: '<html>' } }],
    ['a question answered by nothing', { kind: 'instead', response: { status: 200, body: '' } }],
  ]
  for (const [when, fault] of faults) {
    rig.server.faults = { asks: fault }
    const before = rig.server.requests.length
    assertKind(await rig.ask({ handle }), ['unknown'], when)
    assert(rig.server.requests.length > before, 'asking must ask the provider')
  }
  rig.server.faults = { asks: instead(404) }
  assertKind(await rig.ask({ handle }), ['missing', 'unknown'], 'a question answered 404')
}

async function cutQuestion(rig: Rig): Promise<void> {
  const { handle } = await ran(rig)
  const before = rig.server.answers.length
  await rig.ask({ handle })
  const whole = rig.server.answers[before]!
  for (const afterBytes of cutsOf(whole)) {
    rig.server.faults = { asks: { kind: 'cut', afterBytes, how: afterBytes % 2 === 0 ? 'close' : 'reset' } }
    assertKind(await rig.ask({ handle }), ['unknown'], `an answer cut after ${afterBytes} bytes`)
  }
}

async function hangingQuestion(rig: Rig): Promise<void> {
  const { handle } = await ran(rig)
  const before = rig.server.requests.length
  rig.server.faults = { asks: { kind: 'hang', afterBytes: 0 } }
  const abort = new AbortController()
  const asking = later(rig.ask({ handle }, abort.signal))
  await within(rig.server.seen(before + 1), SETTLE_MS_MAX * 2, 'the question to arrive')
  abort.abort('the deadline')
  assertKind(await within(asking, SETTLE_MS_MAX, 'the question to settle'), ['unknown'], 'a question that was ended')
}

async function findsLost(rig: Rig): Promise<void> {
  rig.server.faults = { starts: { kind: 'read-and-cut', how: 'reset' } }
  assertKind(await rig.call(), ['unknown'], 'a lost answer')
  const end: AskAnswer = await rig.finish(await rig.ask({ handle: null }))
  assertKind(end, ['succeeded'], 'a call that ran')
  if (end.kind === 'succeeded') assert.deepEqual(end.output, rig.subject.output)
  assert.equal(rig.starts().length, 1, 'finding it must start nothing')
}

async function neverArrived(rig: Rig): Promise<void> {
  assertKind(await rig.ask({ handle: null, requestKey: `${REQUEST_KEY}.never` }), ['missing'], 'a call that never was')
}

async function cancels(rig: Rig): Promise<void> {
  const { cancel } = rig.provider
  if (cancel === undefined) return
  const { handle } = await ran(rig)
  const before = rig.server.requests.length
  rig.server.faults = { starts: { kind: 'read-and-cut', how: 'reset' } }
  const question = { ...questionOf(REQUEST_KEY), handle }
  const cancelling = cancel.call(rig.provider, question, new AbortController().signal)
  await within(
    cancelling.catch(() => {}),
    SETTLE_MS_MAX * 2,
    'the cancellation to settle',
  )
  assert(rig.server.requests.length <= before + 1, 'a cancellation must not be sent again')
}

const FLIPS_MAX = 64

async function verifiesWebhooks(subject: ProviderSubject): Promise<void> {
  const factory = subject.create('http://127.0.0.1:9')
  const read = factory.webhook!('subject', { secret: (name) => secretOf(subject, name) })
  const forged = { headers: {}, body: Buffer.from(`{"status":"succeeded","note":"${subject.content[0]}"}`) }
  if (subject.delivery === undefined) {
    // To refuse it is right, too.
    const news = await Promise.resolve()
      .then(() => read(forged))
      .catch(() => null)
    assert.notEqual(news?.kind, 'answer', 'a delivery that nobody signed must decide nothing')
    return
  }
  await read(subject.delivery({ requestKey: REQUEST_KEY }))
  const good = subject.delivery({ requestKey: REQUEST_KEY })
  await mustRefuse(subject, read, forged, 'a delivery without a signature')
  const step = Math.max(1, Math.ceil(good.body.length / FLIPS_MAX))
  for (let at = 0; at < good.body.length; at += step) {
    const body = Buffer.from(good.body)
    body[at]! ^= 1
    await mustRefuse(subject, read, { ...good, body }, `a body whose byte ${at} was changed`)
  }
  const body = Buffer.concat([good.body, Buffer.from(' ')])
  await mustRefuse(subject, read, { ...good, body }, 'a body that became longer')
}

async function mustRefuse(
  subject: ProviderSubject,
  read: WebhookReader,
  delivery: WebhookDelivery,
  what: string,
): Promise<void> {
  const refusal: unknown = await Promise.resolve()
    .then(() => read(delivery))
    .then(
      () => null,
      (error: unknown) => error,
    )
  assert(refusal instanceof Error, `${what} must be refused`)
  assert.equal((refusal as { code?: unknown }).code, 'webhook-refused', `${what} must be refused by WebhookRefused`)
  assertSilent(subject, refusal.message, 'a refusal')
}
