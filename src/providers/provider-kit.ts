/**
 * `endstate/provider-kit`: what the adapters of this package are made with, for a team's own.
 *
 * One request on the wire per exchange and no retries (`createHttpSession`), what its end proves (`readOutcome`), what
 * the provider bills (`spendOfUsage`), and the types of the port. Whatever else an adapter uses (an SDK, a socket) must
 * keep the same rules; `endstate/testing` checks them.
 */
export { defineProvider } from './define-provider.js'
export type { DefinedTerms, OpenContext, ProviderDefinition } from './define-provider.js'
export { WebhookRefused } from './contract.js'
export type {
  AskAnswer,
  BuiltRequest,
  CallAnswer,
  CallInput,
  CallRequest,
  LearnedLimits,
  Progress,
  Provider,
  ProviderDeps,
  ProviderFactory,
  Question,
  RequestParts,
  WebhookDelivery,
  WebhookNews,
  WebhookReader,
} from './contract.js'
export { createHttpSession, NO_STATUS_RULES, parseJsonBody, readOutcome } from './http-session.js'
export type { Exchange, HttpSession, Reading, ReadingRules, SessionOptions } from './http-session.js'
export type { WireOutcome } from './http-wire.js'
export { parseRetryAfter } from './http-certainty.js'
export type { StatusRules } from './http-certainty.js'
export { createSseReader } from './sse.js'
export type { SseEvent, SseReader } from './sse.js'
export { priceTableSchema, spendBound, spendOfUsage } from './price-table.js'
export type { PriceTable } from './price-table.js'
export { env } from './secret.js'
export type { Secret } from './secret.js'
