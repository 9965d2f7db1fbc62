/**
 * What a content is. The content decides; the name never does, and what the submitter declares only chooses
 * among text formats that no content can tell apart (text/csv), and only where the pipeline asks for that format.
 */
import { fileTypeFromBuffer } from 'file-type'
import { Refusal } from './contract.js'

export const JSON_TYPE = 'application/json'
const TEXT_TYPE = 'text/plain'
const UNKNOWN_TYPE = 'application/octet-stream'
const PDF_TYPE = 'application/pdf'
/** Only these magics count in a text: a letter that begins with "BM" is no bitmap. */
const MAGIC_IN_TEXT: ReadonlySet<string> = new Set([
  PDF_TYPE,
  'application/xml',
  'application/rtf',
  'application/postscript',
  'text/calendar',
  'text/vcard',
  'text/vtt',
])

/** Enough for every magic number; containers (zip, Matroska) name their contents within it. */
export const SNIFF_BYTES = 16 * 1024
/** PDF readers allow the header anywhere in the first 1024 bytes (ISO 32000-1, annex H.3.4.1). */
const PDF_HEADER_BYTES = 1024

/** Lower case, without parameters; null for nothing and for what is no media type. */
export function normalMediaType(declared: string | null): string | null {
  const type = declared?.split(';', 1)[0]?.trim().toLowerCase() ?? ''
  return /^[a-z0-9!#$&^_.+-]{1,100}\/[a-z0-9!#$&^_.+-]{1,100}$/.test(type) ? type : null
}

/** Whether `accepts` (exact types, or `image/*` style wildcards) holds `type`. */
export function isAccepted(accepts: readonly string[], type: string): boolean {
  return accepts.some((accepted) => {
    const wanted = accepted.toLowerCase()
    return wanted === type || wanted === '*/*' || (wanted.endsWith('/*') && type.startsWith(wanted.slice(0, -1)))
  })
}

/**
 * The type of a content by its first bytes. `json` is a candidate until it parses: the text begins as JSON does,
 * or was declared as JSON.
 */
export async function sniff(
  head: Uint8Array,
  declared: string | null,
): Promise<{ type: string; json: 'no' | 'maybe' | 'declared' }> {
  const start = head.subarray(0, SNIFF_BYTES)
  const magic = beginsWith(start, '%PDF-') ? PDF_TYPE : await magicOf(start)
  if (!looksLikeText(start)) {
    return { type: magic ?? (holdsPdfHeader(start) ? PDF_TYPE : UNKNOWN_TYPE), json: 'no' }
  }
  if (magic !== null && MAGIC_IN_TEXT.has(magic)) return { type: magic, json: 'no' }
  if (isJsonType(declared)) return { type: TEXT_TYPE, json: 'declared' }
  return { type: TEXT_TYPE, json: beginsAsJson(start) ? 'maybe' : 'no' }
}

async function magicOf(start: Uint8Array): Promise<string | null> {
  try {
    return (await fileTypeFromBuffer(start))?.mime ?? null
  } catch {
    // A container that contradicts itself is no known type.
    return null
  }
}

/** The name under which the pipeline takes a text or JSON content; `found` itself where it does. */
export function nameFor(found: string, declared: string | null, accepts: readonly string[]): string {
  if (isAccepted(accepts, found) || declared === null || !isAccepted(accepts, declared)) return found
  if (found === TEXT_TYPE && declared.startsWith('text/')) return declared
  if (found === JSON_TYPE && isJsonType(declared)) return declared
  // Every JSON is a text too.
  return found
}

export function isJsonType(type: string | null): boolean {
  return type === JSON_TYPE || (type?.endsWith('+json') ?? false)
}

export function unsupported(
  found: string,
  declared: string | null,
  pipeline: string,
  accepts: readonly string[],
): Refusal {
  const said =
    declared === null || declared === found ? '' : ` (it was declared as ${declared}, but the content decides)`
  return new Refusal(
    'unsupported-media-type',
    415,
    `The content is ${found}${said}. The pipeline "${pipeline}" accepts ${accepts.join(', ')}: send one of these.`,
    { found, accepted: [...accepts] },
  )
}

/** No control characters but white space and escape: text in UTF-8 or any 8-bit encoding. */
function looksLikeText(bytes: Uint8Array): boolean {
  for (const byte of bytes) {
    if (byte < 0x20 && byte !== 0x09 && byte !== 0x0a && byte !== 0x0c && byte !== 0x0d && byte !== 0x1b) return false
  }
  return true
}

function beginsAsJson(bytes: Uint8Array): boolean {
  let at = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0
  while (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0a || bytes[at] === 0x0d) at += 1
  return bytes[at] === 0x7b || bytes[at] === 0x5b
}

function beginsWith(bytes: Uint8Array, magic: string): boolean {
  return (
    Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, magic.length)).toString('latin1') === magic
  )
}

function holdsPdfHeader(bytes: Uint8Array): boolean {
  const start = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, PDF_HEADER_BYTES))
  return start.includes('%PDF-')
}
