/** What a person does to a record: `cancel`, `retry`, `write-off`. Ends with the record's way, as `show` has it. */
import type { ActionName, ApiClient } from '../api-client.js'
import type { ExitCode } from '../exit-codes.js'
import type { Io } from '../io.js'
import { show } from './records.js'

export type ActOptions = { reason: string; ifVersion: number | null; json: boolean }

/** Throws ApiProblem when the record does not take it, or is not at that version. */
export const act = async (
  io: Io,
  client: ApiClient,
  action: ActionName,
  id: string,
  { reason, ifVersion, json }: ActOptions,
): Promise<ExitCode> => {
  const { version, status } = (await client.act(id, action, reason, ifVersion)).live
  io.note(`Record ${id} took the ${action}: it is at version ${version}, ${status}.`)
  return show(io, client, id, json)
}
