/**
 * `defineProvider`: how a team writes an adapter of its own.
 *
 * Owns the check of what is declared, when the config is loaded: an adapter that promises a recovery which it has no
 * means for is refused there, not at the first crash. What the functions must keep is said at the port (contract.ts)
 * and tested by `endstate/testing`.
 */
import { z } from 'zod'
import { RECOVERIES, type ProviderTerms } from '../machines/pipeline.js'
import type { Provider, ProviderDeps, ProviderFactory, WebhookDelivery, WebhookNews } from './contract.js'
import { DECIMAL_PATTERN } from './decimal.js'
import { parseDuration, type Duration } from './durations.js'
import { isSecret, type Secret } from './secret.js'

/** What a worker process hands an adapter when it opens it. */
export type OpenContext = {
  /** The provider's name in the config. */
  name: string
  /** The value of a secret that the config names with `env('NAME')`. Throws where it is not set. */
  secret(of: Secret): string
}

type Cost =
  | { cost: 'free' }
  /** `spendMax`: the most that one call may cost, booked where nobody knows; or `unknown`, said on purpose. */
  | { cost: 'paid'; spendMax: { amount: string; currency: string } | 'unknown' }

/** See `Recovery` for what each promises. */
export type DefinedTerms = Cost & {
  /** How long a run may go on after our side gave up on it, or a job after it was taken. */
  longestRun: Duration
  model?: string
} & (
    | { recovery: 'blind' | 'in-flight' }
    | { recovery: 'idempotent'; keyTtl: Duration }
    | {
        recovery: 'retrievable'
        /** How long a call that has run may still be missing from a look-up. */
        lookupLag: Duration
        /** Default true; false where only the handle that a running call told (`onProgress`) finds it. */
        findsByToken?: boolean
      }
    | { recovery: 'job'; lookupLag?: Duration; findsByToken?: boolean }
  )

/** `S` is what `open` makes once per worker process: a session, a client, a pool. Write `open` first. */
export type ProviderDefinition<S> = {
  open(context: OpenContext): S
  terms: DefinedTerms
  /** Calls at once per worker process. Default 8. */
  slots?: number
  limits?: { requestsPerMinute?: number; tokensPerMinute?: number }
  /** Needed with `idempotent`, whose repeats must have the same bytes. */
  build?(parts: Parameters<NonNullable<Provider['build']>>[0], opened: S): ReturnType<NonNullable<Provider['build']>>
  call(request: Parameters<Provider['call']>[0], signal: AbortSignal, opened: S): ReturnType<Provider['call']>
  /** Needed with `retrievable` and `job`; of no use for others. */
  ask?: (
    question: Parameters<NonNullable<Provider['ask']>>[0],
    signal: AbortSignal,
    opened: S,
  ) => ReturnType<NonNullable<Provider['ask']>>
  cancel?: (question: Parameters<NonNullable<Provider['cancel']>>[0], signal: AbortSignal, opened: S) => Promise<void>
  /** Verifies a delivery on its raw bytes and reads it; throws WebhookRefused. Runs where no call is made. */
  webhook?: (delivery: WebhookDelivery, context: OpenContext) => WebhookNews | Promise<WebhookNews>
  ready?: (signal: AbortSignal, opened: S) => Promise<{ ready: boolean; detail: string }>
  close?: (opened: S) => Promise<void> | void
}

const isFunction = (value: unknown): boolean => typeof value === 'function'
const required = z.custom<never>(isFunction, 'is no function')
const optional = required.optional()
const duration = z.unknown()

const Terms = z.strictObject({
  recovery: z.enum(RECOVERIES),
  cost: z.enum(['paid', 'free']),
  longestRun: duration,
  keyTtl: duration.optional(),
  lookupLag: duration.optional(),
  findsByToken: z.boolean().optional(),
  model: z.string().min(1).max(200).optional(),
  spendMax: z
    .union(
      [
        z.literal('unknown'),
        z.strictObject({ amount: z.string().regex(DECIMAL_PATTERN), currency: z.string().regex(/^[A-Z]{3}$/) }),
      ],
      { error: 'is neither { amount: "0.40", currency: "EUR" } nor "unknown"' },
    )
    .optional(),
})

const perMinute = z.number().positive().optional()
const Definition = z.strictObject({
  terms: Terms,
  slots: z.int().min(1).max(10_000).default(8),
  limits: z.strictObject({ requestsPerMinute: perMinute, tokensPerMinute: perMinute }).optional(),
  open: required,
  build: optional,
  call: required,
  ask: optional,
  cancel: optional,
  webhook: optional,
  ready: optional,
  close: optional,
})
type Parsed = z.output<typeof Definition>

/** Throws TypeError where the definition is not whole. Nothing is opened before a worker starts. */
export function defineProvider<S>(definition: ProviderDefinition<S>): ProviderFactory {
  const parsed = Definition.safeParse(definition)
  if (!parsed.success) {
    const wrong = parsed.error.issues.map(({ path, message }) => `${path.map(String).join('.') || 'it'}: ${message}`)
    throw new TypeError(`The provider's definition is not valid: ${wrong.join('; ')}.`)
  }
  checkRecovery(parsed.data)
  const terms = readTerms(parsed.data.terms)
  const { slots } = parsed.data
  return {
    slots,
    ...(definition.limits && { limits: definition.limits }),
    terms: (name) => ({ name, ...terms }),
    create: (name, deps) => createDefined(definition, { name, ...terms }, slots, contextOf(name, deps)),
    ...(definition.webhook && {
      webhook: (name, deps) => {
        const context = contextOf(name, deps)
        return (delivery) => definition.webhook!(delivery, context)
      },
    }),
  }
}

const contextOf = (name: string, deps: ProviderDeps): OpenContext => ({
  name,
  secret(of) {
    if (!isSecret(of)) throw new TypeError(`Provider ${name} reads a secret that is not written as env('NAME').`)
    return deps.secret(of.secret)
  },
})

function createDefined<S>(
  definition: ProviderDefinition<S>,
  terms: ProviderTerms,
  slots: number,
  context: OpenContext,
): Provider {
  const opened = definition.open(context)
  const { build, ask, cancel, ready, close } = definition
  return {
    terms,
    slots,
    ...(build && { build: (parts) => build.call(definition, parts, opened) }),
    call: (request, signal) => definition.call(request, signal, opened),
    ...(ask && { ask: (question, signal) => ask.call(definition, question, signal, opened) }),
    ...(cancel && { cancel: (question, signal) => cancel.call(definition, question, signal, opened) }),
    ...(ready && { ready: (signal) => ready.call(definition, signal, opened) }),
    async close() {
      await close?.call(definition, opened)
    },
  }
}

type Method = 'build' | 'ask' | 'cancel' | 'webhook'
type Term = 'keyTtl' | 'lookupLag' | 'findsByToken'
type Rule = { needs: (Method | Term)[]; takes: (Method | Term)[] }

/** What each recovery needs, and what only it can use: a promise without its means, and a means without its promise. */
const RULES: { [R in ProviderTerms['recovery']]: Rule } = {
  blind: { needs: [], takes: ['build'] },
  'in-flight': { needs: ['build'], takes: ['build'] },
  idempotent: { needs: ['build', 'keyTtl'], takes: ['build', 'keyTtl'] },
  retrievable: { needs: ['ask', 'lookupLag'], takes: ['build', 'ask', 'lookupLag', 'findsByToken'] },
  job: { needs: ['ask'], takes: ['build', 'ask', 'cancel', 'webhook', 'lookupLag', 'findsByToken'] },
}
const WHY: { [name in Method | Term]: string } = {
  build: 'a repeat must send the same bytes',
  ask: 'it starts nothing and says what became of a call',
  cancel: 'only a job can be ended',
  webhook: 'only a job ends later',
  keyTtl: 'how long a key is honoured, e.g. "24h"',
  lookupLag: 'how long a call that has run may be missing, e.g. "10s"',
  findsByToken: 'only a provider that can be asked finds anything',
}

function checkRecovery(definition: Parsed): void {
  const { recovery, cost, spendMax } = definition.terms
  const { needs, takes } = RULES[recovery]
  for (const part of Object.keys(WHY) as (Method | Term)[]) {
    const given = part in definition.terms ? definition.terms[part as Term] : definition[part as Method]
    const what = part in Terms.shape ? `terms.${part}` : part
    if (needs.includes(part) && given === undefined)
      throw new TypeError(`A provider with recovery "${recovery}" needs ${what}: ${WHY[part]}.`)
    if (!takes.includes(part) && given !== undefined)
      throw new TypeError(`A provider with recovery "${recovery}" can't use ${what}: ${WHY[part]}.`)
  }
  if (cost === 'paid' && spendMax === undefined)
    throw new TypeError(
      'A paid provider needs terms.spendMax, the most that one call may cost, or spendMax: "unknown" to say that nobody knows.',
    )
  if (cost === 'free' && spendMax !== undefined)
    throw new TypeError('A free provider has no terms.spendMax: remove it, or set cost to "paid".')
}

const KEY_TTL_MS_MAX = 366 * 24 * 60 * 60 * 1000

function readTerms(terms: Parsed['terms']): Omit<ProviderTerms, 'name'> {
  const { recovery, cost, spendMax, model } = terms
  return {
    recovery,
    cost,
    longestRunMs: parseDuration(terms.longestRun, "The provider's longestRun"),
    keyTtlMs: terms.keyTtl === undefined ? 0 : parseDuration(terms.keyTtl, "The provider's keyTtl", KEY_TTL_MS_MAX),
    lookupLagMs: terms.lookupLag === undefined ? 0 : parseDuration(terms.lookupLag, "The provider's lookupLag"),
    findsByToken: terms.findsByToken ?? recovery === 'retrievable',
    spendMax: spendMax === undefined || spendMax === 'unknown' ? null : spendMax,
    ...(model !== undefined && { model }),
  }
}
