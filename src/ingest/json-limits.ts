/**
 * The limits of JSON that comes from outside, and the one place where such text is parsed.
 *
 * Owns: size, encoding and parsing. Depth and number range are checked where the value is walked anyway, in
 * canonicalJson (content-hash.ts), so that no value is walked twice.
 * J1 Every refusal names the place by position, never by content: the text may be a patient's.
 * J2 Invalid UTF-8 is refused, because decoding it would make two different inputs equal (P7).
 */
import { isUtf8 } from 'node:buffer'
import { Refusal } from './contract.js'

/** Objects and arrays inside each other. MongoDB stops at 100 levels; no honest input comes near. */
export const JSON_DEPTH_MAX = 64
/** JSON must be held in memory to be parsed. Larger inputs belong into a file of another type. */
export const JSON_BYTES_MAX = 4 * 1024 * 1024

export function tooLarge(what: string, bytesMax: number): Refusal {
  return new Refusal('too-large', 413, `${what} is larger than the limit of ${bytesMax} bytes. Send less.`, {
    bytesMax,
  })
}

/** Parses JSON text. Throws Refusal `too-large` or `invalid-submission`. Keys such as `__proto__` stay data. */
export function parseJson(bytes: Uint8Array, what: string, bytesMax: number = JSON_BYTES_MAX): unknown {
  if (bytes.byteLength > bytesMax) throw tooLarge(what, bytesMax)
  if (!isUtf8(bytes)) {
    throw new Refusal('invalid-submission', 400, `${what} is not valid UTF-8. JSON is UTF-8 (RFC 8259): encode it so.`)
  }
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  try {
    // A byte order mark may precede JSON (RFC 8259, section 8.1: parsers may ignore it).
    return JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text)
  } catch (error) {
    throw new Refusal(
      'invalid-submission',
      400,
      `${what} is not valid JSON${whereOf(error)}. Correct it and send it again.`,
    )
  }
}

/** What may be told of a parser's message: it quotes the text around the mistake, unless it gives a position. */
function whereOf(error: unknown): string {
  const message = error instanceof Error ? error.message : ''
  if (/^Unexpected end|^Unterminated/.test(message)) return ': it ends too early and may be cut off'
  const at = /at position \d+/.exec(message)?.[0]
  return at === undefined ? ': a token is out of place, such as a value without quotes' : `: a mistake ${at}`
}
