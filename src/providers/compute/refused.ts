/** What a step's own function throws to say: no result, for certain, and here is why. */
import type { Evidence } from '../../machines/record.js'

/**
 * Thrown by a function of `compute`: the step has no result and is not tried again. Code (`a-z0-9-`), message and
 * evidence are kept in the record and shown to people, so they name fields and rules, never what stood there.
 */
export class StepRefused extends Error {
  readonly code: string
  readonly evidence: Evidence
  constructor(code: string, message: string, evidence: Evidence = {}) {
    super(message)
    this.name = 'StepRefused'
    this.code = code
    this.evidence = evidence
  }
}
