/**
 * The subjects and streams by which submissions come in over NATS and answers go out.
 *
 * Pipelines and sources are the only words in a subject; nothing of a submission's content ever is.
 */

export type IngestNames = {
  submitAll: string
  submitQueue: string
  ingestAll: string
  ingestStream(source: string): string
  ingestSubjects(source: string): string
  /** The source whose ingest stream this is; null for any other stream. */
  sourceOf(stream: string): string | null
  durable: string
  receiptsStream: string
  receiptsAll: string
  receipts(source: string): string
  refusedStream: string
  refusedAll: string
  refused(source: string): string
  /** What stands behind `<prefix>.submit.` or `<prefix>.ingest.`, word by word. */
  words(subject: string): string[]
  /** How a correct subject looks, for messages to people. */
  shape(kind: 'submit' | 'ingest', source: string): string
}

export const SOURCE_NAME = /^[a-z0-9-]{1,40}$/
// No underscore: it stands for the dot in stream names, where two prefixes must not meet.
const PREFIX = /^[a-z0-9-]+(\.[a-z0-9-]+)*$/

/** Throws when the prefix can't be a NATS subject. */
export function ingestNames(prefix: string): IngestNames {
  if (!PREFIX.test(prefix)) {
    throw new Error(
      `The NATS subject prefix must be words of a-z, 0-9 and "-" joined by dots; found ${JSON.stringify(prefix)}.`,
    )
  }
  const upper = prefix.toUpperCase().replaceAll('.', '_')
  const wordsBefore = prefix.split('.').length + 1
  return {
    submitAll: `${prefix}.submit.>`,
    submitQueue: 'endstate-ingest',
    ingestAll: `${prefix}.ingest.>`,
    ingestStream: (source) => `${upper}_INGEST_${source.toUpperCase()}`,
    ingestSubjects: (source) => `${prefix}.ingest.${source}.>`,
    sourceOf(stream) {
      const begins = `${upper}_INGEST_`
      if (!stream.startsWith(begins)) return null
      const source = stream.slice(begins.length).toLowerCase()
      return SOURCE_NAME.test(source) ? source : null
    },
    durable: 'endstate',
    receiptsStream: `${upper}_RECEIPTS`,
    receiptsAll: `${prefix}.receipts.*`,
    receipts: (source) => `${prefix}.receipts.${source}`,
    refusedStream: `${upper}_REFUSED`,
    refusedAll: `${prefix}.refused.*`,
    refused: (source) => `${prefix}.refused.${source}`,
    words: (subject) => subject.split('.').slice(wordsBefore),
    shape: (kind, source) => `${prefix}.${kind}.${source}.PIPELINE`,
  }
}
