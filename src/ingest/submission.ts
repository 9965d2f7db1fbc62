/**
 * The checks of a submission's envelope: names, key, metadata, file name. The content is take-input.ts's.
 * Messages name the field and the rule, never the value where it could be a person's.
 */
import { Refusal, type Submission } from './contract.js'

const NAME = /^[a-z0-9-]{1,40}$/
const KEY = /^[\x21-\x7e]{1,255}$/
const METADATA_NAME = /^[A-Za-z0-9_-]{1,64}$/
export const METADATA_ENTRIES_MAX = 32
export const METADATA_CHARS_MAX = 200
const FILE_NAME_CHARS_MAX = 255

/** Throws Refusal `invalid-submission`. */
export function checkEnvelope(submission: Submission): void {
  if (!NAME.test(submission.source)) throw invalid('The source must be 1 to 40 of a-z, 0-9 and "-".')
  if (typeof submission.pipeline !== 'string' || !NAME.test(submission.pipeline)) {
    throw invalid('The pipeline name must be 1 to 40 of a-z, 0-9 and "-".')
  }
  if (submission.key !== null && !KEY.test(submission.key)) {
    throw invalid(
      `The idempotency key must be 1 to 255 visible ASCII characters without spaces; this one has ${submission.key.length} characters.`,
    )
  }
  checkMetadata(submission.metadata)
}

/** Its names become field names in MongoDB, hence the narrow alphabet: no `$`, no dot, no `__proto__`. */
function checkMetadata(metadata: { [name: string]: unknown }): void {
  const names = Object.keys(metadata)
  if (names.length > METADATA_ENTRIES_MAX) {
    throw invalid(`The metadata has ${names.length} entries; ${METADATA_ENTRIES_MAX} are allowed.`)
  }
  for (const [index, name] of names.entries()) {
    if (!METADATA_NAME.test(name) || name === '__proto__') {
      throw invalid(
        `Metadata entry ${index + 1}: its name must be 1 to 64 of A-Z, a-z, 0-9, "_" and "-", not "__proto__".`,
      )
    }
    const value = metadata[name]
    if (typeof value !== 'string') throw invalid(`Metadata entry "${name}" must be a string, not ${typeName(value)}.`)
    if (value.length > METADATA_CHARS_MAX) {
      throw invalid(`Metadata entry "${name}" has ${value.length} characters; ${METADATA_CHARS_MAX} are allowed.`)
    }
  }
}

/** The last part of a path, without control characters, bounded. It is shown and never trusted. */
export function safeFileName(fileName: string | null): string | null {
  const last = fileName?.split(/[/\\]/).at(-1) ?? ''
  // oxlint-disable-next-line no-control-regex -- control characters are what is removed
  const clean = last.replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/g, '').trim()
  if (clean === '' || clean === '.' || clean === '..') return null
  // Through UTF-8 and back: half a character, left by the cut or sent so, becomes U+FFFD.
  return Buffer.from(clean.slice(0, FILE_NAME_CHARS_MAX)).toString()
}

function typeName(value: unknown): string {
  if (value === null) return 'null'
  return Array.isArray(value) ? 'an array' : typeof value
}

function invalid(message: string): Refusal {
  return new Refusal('invalid-submission', 400, message)
}
