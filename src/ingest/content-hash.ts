/**
 * Identity of submissions: what makes two of them the same (P7), and where a record's id comes from.
 *
 * Pure. Invariants:
 * H1 Equal JSON values give equal text, whatever the order of keys and white space (RFC 8785).
 * H2 The id of a keyed submission depends on source and key alone, so each path of arrival finds the first record.
 * H3 The content hash depends on pipeline, media type and input alone; file names and metadata do not count.
 */
import { hash } from 'node:crypto'
import { Refusal } from './contract.js'
import { JSON_DEPTH_MAX } from './json-limits.js'

export function sha256(bytes: Uint8Array | string): string {
  return hash('sha256', bytes, 'hex')
}

/** 32 hex digits. The separator can't occur in a source name. */
export function recordIdOf(source: string, key: string): string {
  return sha256(`record\n${source}\n${key}`).slice(0, 32)
}

/** 0..255, spread evenly over any ids (FNV-1a, folded to eight bits). */
export function shardOf(id: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < id.length; at += 1) hash = Math.imul(hash ^ id.charCodeAt(at), 0x01000193)
  return (hash ^ (hash >>> 8) ^ (hash >>> 16) ^ (hash >>> 24)) & 0xff
}

export function contentHashOf(pipeline: string, mediaType: string, inputSha256: string): string {
  return sha256(`content\n${pipeline}\n${mediaType}\n${inputSha256}`)
}

/**
 * JSON Canonicalization Scheme (RFC 8785): keys in UTF-16 order, numbers and strings as ECMAScript writes them.
 * Throws Refusal `too-deep` past JSON_DEPTH_MAX, and `invalid-submission` for numbers that a double can't hold
 * exactly (a twenty-digit patient number would come out as another patient's) and for values that are no JSON.
 */
export function canonicalJson(value: unknown): string {
  return write(value, 0)
}

function write(value: unknown, depth: number): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value)
    case 'number':
      return writeNumber(value)
    case 'boolean':
      return value ? 'true' : 'false'
    case 'object':
      return value === null ? 'null' : writeNested(value, depth + 1)
    default:
      throw notJson(typeof value)
  }
}

function writeNested(value: object, depth: number): string {
  if (depth > JSON_DEPTH_MAX) {
    throw new Refusal(
      'too-deep',
      400,
      `The JSON is nested deeper than ${JSON_DEPTH_MAX} levels. Flatten it, or send it as a file of another type.`,
      { depthMax: JSON_DEPTH_MAX },
    )
  }
  if (Array.isArray(value)) {
    let items = ''
    for (const item of value) items += items === '' ? write(item, depth) : `,${write(item, depth)}`
    return `[${items}]`
  }
  const prototype: unknown = Object.getPrototypeOf(value)
  if (prototype !== Object.prototype && prototype !== null) throw notJson('class instance')
  let members = ''
  for (const key of Object.keys(value).sort()) {
    const member = `${JSON.stringify(key)}:${write((value as { [key: string]: unknown })[key], depth)}`
    members += members === '' ? member : `,${member}`
  }
  return `{${members}}`
}

function writeNumber(value: number): string {
  if (!Number.isFinite(value) || (Number.isInteger(value) && !Number.isSafeInteger(value))) {
    throw new Refusal(
      'invalid-submission',
      400,
      `The JSON holds a number beyond ±${Number.MAX_SAFE_INTEGER}, which would not be kept exactly. Send it as a string.`,
    )
  }
  return JSON.stringify(value)
}

function notJson(found: string): Refusal {
  return new Refusal(
    'invalid-submission',
    400,
    `The input holds a value of type ${found}. Only JSON values can be sent.`,
  )
}
