/** `charges`: what customers owe, newest first, for people, for machines (--json) and for spreadsheets (--csv). */
import { chargeListSchema, type ChargeRowJson } from '../../server/schemas.js'
import type { ApiClient } from '../api-client.js'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { timeFlag } from '../flags.js'
import { printJson, type Io } from '../io.js'
import { parsedAnswer } from '../parsed-answer.js'
import { tableText, timeText } from '../text.js'

export type ChargesFlags = {
  from?: string
  to?: string
  source?: string
  pipeline?: string
  limit: string
  page?: string
  csv?: true
  json?: true
}

/** A table of all charges may be long. */
const CSV_TIMEOUT_MS = 300_000

const queryOf = ({ from, to, source, pipeline, limit, page, csv }: ChargesFlags): string => {
  const asked = {
    from: from && timeFlag(from, '--from', false),
    to: to && timeFlag(to, '--to', true),
    source,
    pipeline,
    ...(csv ? {} : { limit, page }),
  }
  const given = Object.entries(asked).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return new URLSearchParams(given).toString()
}

export const charges = async (io: Io, client: ApiClient, flags: ChargesFlags): Promise<ExitCode> => {
  const path = `/v1/charges?${queryOf(flags)}`
  if (flags.csv) {
    io.out((await client.text(path, 'text/csv', CSV_TIMEOUT_MS)).trimEnd())
    return EXIT.ok
  }
  const raw = await client.json(path)
  if (flags.json) {
    printJson(io, raw)
    return EXIT.ok
  }
  const { items, next } = parsedAnswer(chargeListSchema, raw)
  if (items.length === 0) io.note('No charges.')
  else for (const line of tableText([HEAD, ...items.map(rowOf)])) io.out(line)
  if (next !== null) io.note(`There are more: the same with --page ${next}, or all of them with --csv.`)
  return EXIT.ok
}

const HEAD = ['charged', 'source', 'pipeline', 'record', 'key', 'amount']

const rowOf = ({ at, source, pipeline, record, key, amount, currency, simulated }: ChargeRowJson): string[] => [
  timeText(at),
  source,
  pipeline,
  record,
  key,
  `${amount} ${currency}${simulated ? ' (simulated)' : ''}`,
]
