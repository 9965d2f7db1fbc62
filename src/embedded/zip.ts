/**
 * Takes one file out of a zip (a wheel or a release), without a system unzip.
 * Reads the central directory (APPNOTE.TXT 4.3.12 and 4.3.16); stored and deflated entries only, no ZIP64:
 * the archives are pinned, and theirs are like that. Their hash was checked before, so no CRC here.
 */
import { createReadStream, createWriteStream } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createInflateRaw } from 'node:zlib'

const END_SIGNATURE = 0x06054b50
const ENTRY_SIGNATURE = 0x02014b50
const END_BYTES = 22
const COMMENT_BYTES_MAX = 0xffff
const DIRECTORY_BYTES_MAX = 16 * 1024 * 1024

type Entry = { name: string; method: number; compressedBytes: number; headerAt: number }

/** Writes the one entry whose path ends with `suffix` to `target`. Throws when there is no such entry. */
export async function extractEntry(archive: string, suffix: string, target: string, mode: number): Promise<void> {
  const file = await open(archive, 'r')
  try {
    const entry = (await readDirectory(file)).find((one) => `/${one.name}`.endsWith(suffix))
    if (entry === undefined) throw new Error(`The archive ${archive} has no entry that ends with ${suffix}.`)
    const header = await readAt(file, entry.headerAt, 30)
    const start = entry.headerAt + 30 + header.readUInt16LE(26) + header.readUInt16LE(28)
    const source = createReadStream(archive, { start, end: start + entry.compressedBytes - 1 })
    const sink = createWriteStream(target, { mode })
    if (entry.method === 0) await pipeline(source, sink)
    else if (entry.method === 8) await pipeline(source, createInflateRaw(), sink)
    else
      throw new Error(`The archive ${archive} packs ${entry.name} by method ${entry.method}; only 0 and 8 are known.`)
  } finally {
    await file.close()
  }
}

async function readDirectory(file: FileHandle): Promise<Entry[]> {
  const { size } = await file.stat()
  const tailBytes = Math.min(size, END_BYTES + COMMENT_BYTES_MAX)
  const tail = await readAt(file, size - tailBytes, tailBytes)
  let end = tail.length - END_BYTES
  while (end >= 0 && tail.readUInt32LE(end) !== END_SIGNATURE) end--
  if (end < 0) throw new Error('The file is no zip: it has no end of a central directory.')
  const directoryBytes = tail.readUInt32LE(end + 12)
  if (directoryBytes > DIRECTORY_BYTES_MAX) throw new Error('The zip has a directory larger than any that is expected.')
  const directory = await readAt(file, tail.readUInt32LE(end + 16), directoryBytes)
  const entries: Entry[] = []
  for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === ENTRY_SIGNATURE;) {
    const nameBytes = directory.readUInt16LE(at + 28)
    entries.push({
      name: directory.toString('utf8', at + 46, at + 46 + nameBytes),
      method: directory.readUInt16LE(at + 10),
      compressedBytes: directory.readUInt32LE(at + 20),
      headerAt: directory.readUInt32LE(at + 42),
    })
    at += 46 + nameBytes + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32)
  }
  return entries
}

async function readAt(file: FileHandle, position: number, bytes: number): Promise<Buffer> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(bytes), 0, bytes, position)
  if (bytesRead !== bytes) throw new Error('The zip ends before its directory says it does.')
  return buffer
}
