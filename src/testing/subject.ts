/**
 * What the conformance suite must be told about an adapter. Types only.
 */
import type { CallRequest, ProviderFactory, WebhookDelivery } from '../providers/contract.js'

/** A request as it reached the provider. Header names in lower case. */
export type ProtocolRequest = {
  method: string
  /** With its query. */
  path: string
  headers: { [name: string]: string }
  body: Buffer
}

/** `json` or `body`; a `text/event-stream` is sent in chunks, everything else with its length. */
export type ProtocolResponse = {
  status: number
  headers?: { [name: string]: string }
  json?: unknown
  body?: string | Uint8Array
}

/** A provider that keeps its protocol: called once for each request that "runs", also when its answer is then lost. */
export type Protocol = (
  request: ProtocolRequest,
  server: { url: string },
) => ProtocolResponse | Promise<ProtocolResponse>

/** With `close`, where the protocol has something to take down. */
export type StartedProtocol = Protocol | { protocol: Protocol; close(): Promise<void> }

export type Uncertain = 'unknown' | 'executed' | 'not-executed'

export type ProviderSubject = {
  /** Shown in the checks' names. */
  name: string
  /** The adapter, made to speak to this base URL (`http://127.0.0.1:…`, without a slash at its end). */
  create(baseUrl: string): ProviderFactory
  /** A provider that has seen nothing yet: asked for once per check. */
  protocol(): StartedProtocol | Promise<StartedProtocol>
  /** What is sent besides the usual: `input`, `request`, `outputSchema`. Put a word of `content` into it. */
  request?: Partial<Pick<CallRequest, 'input' | 'request' | 'outputSchema' | 'outputs'>>
  /** The whole output of a right answer, to be compared. */
  output: unknown
  /** Words of the input and of the right answers that must be in no message and no evidence. */
  content: readonly [string, ...string[]]
  /** Values of secrets, where any text won't do: a webhook's key, say. */
  secrets?: { [name: string]: string }
  /** The JSON that the provider puts its errors into. Default `{ error: { message } }`. */
  error?: (status: number, message: string) => unknown
  /** What the provider's documentation says of a 500 and a 503. Default `unknown`. */
  documented?: { 500?: Uncertain; 503?: Uncertain }
  /** Polls until a job of this protocol has ended. Default 20. */
  pollsMax?: number
  /** A delivery that is signed rightly, with the secrets above. For adapters that verify. */
  delivery?: (token: { requestKey: string }) => WebhookDelivery
}

/** One check, for any runner: `it(check.name, check.run)`. It rejects with an AssertionError. */
export type Check = { name: string; run(): Promise<void> }
