/** The thread in which fields are extracted: the language model takes a third of a second to load. */
import { parentPort } from 'node:worker_threads'
import type { ThreadMessage } from '../ocr/thread-pool.js'
import { extractFields } from './extract-fields.js'
import type { ExtractOutput, ExtractRequest } from './extract-output.js'

parentPort?.on('message', ({ pages }: ExtractRequest) => {
  let message: ThreadMessage<ExtractOutput>
  try {
    message = { done: { fields: extractFields(pages) } }
  } catch (error) {
    // The text of an error might quote the page; its name doesn't.
    message = { failed: error instanceof Error ? error.name : 'Error' }
  }
  parentPort?.postMessage(message)
})
