/** Reading records: `list`, `show`, `watch`. */
import { chartWords, type StateWords } from '../../live/chart-words.js'
import { createRecordsStore } from '../../live/records-store.js'
import type { LiveRecord } from '../../live/shapes.js'
import type { ApiClient, ListQuery } from '../api-client.js'
import { CliError, EXIT, type ExitCode } from '../exit-codes.js'
import { followList, followRecords, type FollowEnd } from '../follow.js'
import { printJson, type Io } from '../io.js'
import { showLive } from '../live-view.js'
import { recordText, TABLE_HEAD, tableRow } from '../record-text.js'
import { tableText } from '../text.js'

export const list = async (io: Io, client: ApiClient, query: ListQuery, json: boolean): Promise<ExitCode> => {
  const { raw, live } = await client.records(query)
  if (json) {
    printJson(io, raw)
    return EXIT.ok
  }
  const now = new Date().toISOString()
  if (live.items.length === 0) io.note('No records. Submit one with "npx endstate submit FILE --pipeline NAME".')
  else for (const line of tableText([TABLE_HEAD, ...live.items.map((record) => tableRow(record, now))])) io.out(line)
  if (live.next !== null) io.note(`There are more: the same with --page ${live.next}`)
  return EXIT.ok
}

/** Results by step; those too large to be inline are fetched. */
export const outputsOf = async (client: ApiClient, record: LiveRecord): Promise<{ [step: string]: unknown }> => {
  const outputs: { [step: string]: unknown } = {}
  for (const [step, { result }] of Object.entries(record.steps)) {
    if (result === null) continue
    outputs[step] = result.link === undefined ? result.output : await client.json(result.link)
  }
  return outputs
}

/** None when the chart of its version can't be had: the rest is shown all the same. */
const wordsOf = async (client: ApiClient, record: LiveRecord, state: unknown): Promise<StateWords[]> => {
  try {
    const { version, xstate } = await client.machine(record.pipeline)
    return version === record.pipelineVersion ? chartWords(xstate, state) : []
  } catch (error) {
    if (error instanceof CliError) return []
    throw error
  }
}

export const show = async (io: Io, client: ApiClient, id: string, json: boolean): Promise<ExitCode> => {
  const { raw, live } = await client.record(id)
  const history = await client.history(id)
  if (json) {
    printJson(io, { record: raw, history: history.raw })
    return EXIT.ok
  }
  const words = live.status === 'processing' ? await wordsOf(client, live, (raw as { state: unknown }).state) : []
  for (const line of recordText(live, history.live, await outputsOf(client, live), words)) io.out(line)
  return EXIT.ok
}

export type WatchOptions = { timeoutMs: number | null; json: boolean; signal: AbortSignal }

/** One record until it has settled, or all of them until Ctrl-C. */
export const watch = async (
  io: Io,
  client: ApiClient,
  id: string | undefined,
  { timeoutMs, json, signal }: WatchOptions,
): Promise<ExitCode> => {
  const store = createRecordsStore()
  const follow = { timeoutMs, signal }
  // Asked once before anything is drawn, so that a wrong address or id is one clear message.
  if (id === undefined) await client.records({ limit: '1' })
  else await client.record(id)
  const view = showLive(io, store, { json, ways: id !== undefined })
  let end: FollowEnd
  try {
    end = await (id === undefined
      ? followList(client, store, { limit: '50' }, follow)
      : followRecords(client, store, [id], follow))
  } finally {
    view.close()
  }
  const record = id === undefined ? undefined : store.getSnapshot().context.records[id]
  if (record === undefined) return EXIT.ok
  if (end === 'timed-out') throw notSettled([record], timeoutMs ?? 0)
  return record.status === 'completed' || end === 'aborted' ? EXIT.ok : EXIT.failed
}

export const notSettled = (records: readonly LiveRecord[], afterMs: number): CliError =>
  new CliError(
    EXIT.notSettled,
    'not-settled',
    records.length === 1
      ? `Record ${records[0]!.id} had not settled after ${afterMs / 1000} s; it settles by ${records[0]!.settlesBy}. Follow it with "npx endstate watch ${records[0]!.id}".`
      : `${records.length} records had not settled after ${afterMs / 1000} s. Follow them with "npx endstate watch".`,
  )
