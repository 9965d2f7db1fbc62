/**
 * `endstate/testing`: what an adapter must pass before records are given to it. The adapters of this package pass the
 * same checks.
 *
 * ```ts
 * for (const check of conformanceOf(subject)) it(check.name, check.run)
 * ```
 *
 * Everything runs on loopback against a server that speaks the provider's protocol as the subject says, and fails on
 * the wire. No runner is needed but one that awaits a function.
 */
import { askChecks } from './ask-checks.js'
import { callChecks } from './call-checks.js'
import type { Check, ProviderSubject } from './subject.js'

export { startFaultyServer } from './faulty-server.js'
export type { Fault, Faults, FaultyServer } from './faulty-server.js'
export { forwardTo } from './forward.js'
export { bytesInput, jsonInput } from './rig.js'
export type { Check, Protocol, ProtocolRequest, ProtocolResponse, ProviderSubject, StartedProtocol } from './subject.js'

/** The checks for one adapter, each on its own. Throws what the subject's `create` throws. */
export const conformanceOf = (subject: ProviderSubject): Check[] =>
  [...callChecks(subject), ...askChecks(subject)].map(({ name, run }) => ({ name: `${subject.name}: ${name}`, run }))
