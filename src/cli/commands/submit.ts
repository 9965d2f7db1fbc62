/** `submit`: files to records, one after the other, and with --wait to their end. */
import { basename } from 'node:path'
import { createRecordsStore, selectUnsettled } from '../../live/records-store.js'
import type { ApiClient } from '../api-client.js'
import { CliError, EXIT, type ExitCode } from '../exit-codes.js'
import { followRecords } from '../follow.js'
import { printJson, type Io } from '../io.js'
import { showLive } from '../live-view.js'
import { bytesText, safeText } from '../text.js'
import { upload, type Receipt } from '../upload.js'
import { notSettled } from './records.js'

/** Progress is worth a line when sending takes longer than this, in ms. */
const PROGRESS_AFTER_MS = 1_000
const PROGRESS_EVERY_MS = 500

export type SubmitOptions = {
  pipeline: string
  key: string | null
  wait: boolean
  timeoutMs: number
  json: boolean
  signal: AbortSignal
}

export const submit = async (
  io: Io,
  client: ApiClient,
  files: readonly string[],
  options: SubmitOptions,
): Promise<ExitCode> => {
  if (options.key !== null && files.length > 1) {
    const message = `--key names one submission, and there are ${files.length} files. Submit them one by one, each with its key.`
    throw new CliError(EXIT.usage, 'one-key-one-file', message)
  }
  const receipts: { file: string; receipt: Receipt }[] = []
  let refused = 0
  for (const file of files) {
    try {
      const receipt = await sendOne(io, client, file, options)
      receipts.push({ file, receipt })
      if (!options.json)
        io.out(`${receipt.id}  ${safeText(basename(file))}  ${receipt.duplicate ? 'already known' : 'accepted'}`)
      else if (!options.wait) printJson(io, { file, receipt })
    } catch (error) {
      // A refusal concerns one file; a service that is away concerns all.
      if (!(error instanceof CliError) || error.exitCode !== EXIT.failed || files.length === 1) throw error
      refused += 1
      io.note(`${safeText(basename(file))} is refused: ${error.message}`)
      if (options.json) printJson(io, { file, error: { code: error.code, message: error.message } })
    }
  }
  const waited = options.wait ? await waitForAll(io, client, receipts, options) : EXIT.ok
  return refused > 0 ? EXIT.failed : waited
}

const sendOne = (io: Io, client: ApiClient, file: string, { pipeline, key }: SubmitOptions): Promise<Receipt> => {
  const startedMs = performance.now()
  let notedMs = startedMs + PROGRESS_AFTER_MS - PROGRESS_EVERY_MS
  const name = safeText(basename(file))
  const onProgress = (sent: number, total: number) => {
    if (performance.now() - notedMs < PROGRESS_EVERY_MS) return
    notedMs = performance.now()
    io.note(`${name}: ${bytesText(sent)} of ${bytesText(total)} sent (${Math.floor((100 * sent) / total)} %)`)
  }
  return upload(client.target, { file, pipeline, key, onProgress })
}

const waitForAll = async (
  io: Io,
  client: ApiClient,
  receipts: readonly { file: string; receipt: Receipt }[],
  { timeoutMs, signal, json }: SubmitOptions,
): Promise<ExitCode> => {
  const store = createRecordsStore({ recordsMax: receipts.length + 1 })
  const view = json ? null : showLive(io, store, { json: false })
  const ids = [...new Set(receipts.map(({ receipt }) => receipt.id))]
  const end = await followRecords(client, store, ids, { timeoutMs, signal }).finally(() => view?.close())
  const { context } = store.getSnapshot()
  if (json)
    for (const { file, receipt } of receipts)
      printJson(io, { file, receipt, record: (await client.record(receipt.id)).raw })
  if (end === 'timed-out') throw notSettled(selectUnsettled(context), timeoutMs)
  const all = ids.every((id) => context.records[id]?.status === 'completed')
  return all || end === 'aborted' ? EXIT.ok : EXIT.failed
}
