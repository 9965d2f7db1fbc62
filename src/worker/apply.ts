/** One event onto a draft, with the outputs that the author's guards may read. */
import { applyEvent } from '../machines/decide.js'
import type { Draft } from '../machines/draft.js'
import type { RecordEvent } from '../machines/events.js'
import type { Payload } from '../machines/record.js'
import type { BlobStore } from '../persistence/contract.js'
import { readJson, readOutputs } from './payloads.js'

/** Answers whether it changed anything. Throws what the storage throws, and what the machine throws. */
export const applyTo = async (blobs: BlobStore, draft: Draft, event: RecordEvent): Promise<boolean> => {
  if (!draft.compiled.needsOutputs) return applyEvent(draft, event)
  const outputs = await readOutputs(blobs, draft.doc)
  if (event.type === 'CALL_SUCCEEDED') outputs[event.step] ??= await readJson(blobs, event.result as Payload)
  return applyEvent(draft, event, { outputs })
}
