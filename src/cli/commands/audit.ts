/**
 * `audit`: whether every record of a live deployment keeps what was promised. Reads the database itself, or asks a service
 * that does. Ends with 1 when an invariant is broken.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { AuditLine, Finding } from '../../audit/contract.js'
import { INVARIANTS } from '../../audit/invariants.js'
import { auditLines } from '../../audit/pass.js'
import type { AuditDeps } from '../../audit/pass.js'
import { watchLines } from '../../audit/watch.js'
import type { WatchLine } from '../../audit/watch.js'
import { findConfig, loadConfig } from '../../config/load-config.js'
import { compileConfig } from '../../config/pipelines.js'
import { createMongoBlobStore } from '../../persistence/mongo-blob-store.js'
import { createMongoRecordAudit } from '../../persistence/mongo-record-audit.js'
import { CONFIG_MODULES } from '../config-modules.js'
import { connectMongo } from '../connect-mongo.js'
import { CliError, EXIT, type ExitCode } from '../exit-codes.js'
import { clientFrom, settingsFrom, type GlobalFlags } from '../flags.js'
import { printJson, type Io } from '../io.js'
import { countText, durationText, safeText, tableText } from '../text.js'
import { serviceAudit } from '../service-audit.js'

export type AuditFlags = GlobalFlags & {
  mongo?: string
  config?: string
  blobs?: true
  watch?: true
  every: number
}

const CLOSE_TIMEOUT_MS = 3_000

/** Throws CliError, StoreUnavailable. */
export const audit = async (io: Io, flags: AuditFlags): Promise<ExitCode> => {
  const signal = io.interruption()
  const asksService = flags.url !== undefined || (io.env['ENDSTATE_URL'] ?? '') !== ''
  const url = flags.mongo ?? (asksService ? undefined : io.env['ENDSTATE_MONGODB_URL'] || undefined)
  if (url !== undefined) return onDatabase(io, flags, url, signal)
  if (flags.watch) {
    const message = '--watch reads the database: give it with --mongo or ENDSTATE_MONGODB_URL.'
    throw new CliError(EXIT.usage, 'settings-refused', message)
  }
  const { target } = clientFrom(flags, io.env)
  const query = { ...(flags.source !== undefined && { source: flags.source }), ...(flags.blobs && { blobs: 'all' }) }
  return show(io, flags, serviceAudit(target, query, signal), signal)
}

const onDatabase = async (io: Io, flags: AuditFlags, url: string, signal: AbortSignal): Promise<ExitCode> => {
  const config = await loadConfig(
    await findConfig(flags.config ?? (io.env['ENDSTATE_CONFIG'] || null), io.cwd),
    CONFIG_MODULES,
  )
  const pipelines = compileConfig(config)
  const { mongo } = settingsFrom({}, { ...io.env, ENDSTATE_MONGODB_URL: url }).settings
  const client = await connectMongo(mongo!)
  try {
    const db = client.db(mongo!.database)
    const deps: AuditDeps = {
      reader: createMongoRecordAudit(db),
      blobs: createMongoBlobStore(db),
      pipelines: (version) => pipelines.byVersion(version),
      nowMs: () => performance.now(),
    }
    const source = flags.source === undefined ? {} : { source: flags.source }
    const options = { allBlobs: flags.blobs === true, signal }
    return flags.watch
      ? await showWatch(io, flags, watchLines(deps, { ...options, ...source, ...watching(flags) }))
      : await show(io, flags, auditLines(deps, { ...options, scope: { kind: 'all', ...source } }), signal)
  } finally {
    await Promise.race([client.close(), sleep(CLOSE_TIMEOUT_MS, undefined, { ref: false })])
  }
}

const watching = ({ every }: AuditFlags) => ({
  everyMs: every,
  first: 'all' as const,
  sleep: async (ms: number, signal: AbortSignal) => {
    await sleep(ms, undefined, { signal }).catch(() => undefined)
  },
})

const findingText = ({ invariant, record, step, attempt, expected, found }: Finding): string => {
  const place = `${step === undefined ? '' : ` step ${step}`}${attempt === undefined ? '' : ` attempt ${attempt}`}`
  return safeText(`${invariant}: record ${record}${place}: expected ${expected}, found ${found}`)
}

const progressText = ({ records, total, findings, ms }: AuditLine & { type: 'progress' }): string =>
  `${countText(records)}${total === null ? '' : ` of about ${countText(total)}`} records in ${durationText(ms)}, ${countText(findings)} finding(s)`

const show = async (
  io: Io,
  { json }: AuditFlags,
  lines: AsyncIterable<AuditLine>,
  signal: AbortSignal,
): Promise<ExitCode> => {
  let end: (AuditLine & { type: 'end' }) | null = null
  for await (const line of lines) {
    if (line.type === 'progress') io.note(progressText(line))
    else if (json === true) printJson(io, line)
    else if (line.type === 'finding') io.out(findingText(line))
    if (line.type === 'end') end = line
  }
  if (end === null && signal.aborted) return EXIT.interrupted
  if (end === null) throw new CliError(EXIT.unreachable, 'audit-broke-off', 'The audit broke off before its end.')
  if (json !== true) for (const text of endText(end)) io.out(text)
  if (signal.aborted) io.note('Interrupted: not all records were looked at.')
  return end.ok ? EXIT.ok : end.findings > 0 || !signal.aborted ? EXIT.failed : EXIT.interrupted
}

const SAYS = new Map<string, string>([
  ...INVARIANTS.map(({ name, says }) => [name, says] as const),
  ['document-parses', 'Each document has the shape of a record.'],
  ['blobs-exist', 'The blobs that records name are there.'],
  ['results-are-whole', 'What a result holds is what was answered, by its hash.'],
])

const endText = ({ records, unsettled, notReplayed, findings, broken, blobs, ms }: AuditLine & { type: 'end' }) => {
  const looked = `${countText(records)} record(s) in ${durationText(ms)}, ${countText(unsettled)} of them not settled; ${countText(blobs)} blob(s) looked for.`
  const { unknownVersion, tooLarge } = notReplayed
  return [
    looked,
    ...(unknownVersion > 0
      ? [`${countText(unknownVersion)} history(s) not replayed: of pipeline versions that the config does not have.`]
      : []),
    ...(tooLarge > 0 ? [`${countText(tooLarge)} history(s) not replayed: their results are too large, or gone.`] : []),
    findings === 0 ? 'Every invariant holds.' : `${countText(findings)} finding(s). Broken:`,
    ...tableText(Object.entries(broken).map(([name, count]) => [`  ${name}`, countText(count), SAYS.get(name) ?? ''])),
  ]
}

/** Until Ctrl-C; then 1 when something is still broken. */
const showWatch = async (io: Io, { json }: AuditFlags, lines: AsyncIterable<WatchLine>): Promise<ExitCode> => {
  let open = 0
  for await (const line of lines) {
    if (line.type === 'pass') open = line.open
    if (line.type === 'progress') io.note(progressText(line))
    else if (json === true) printJson(io, line)
    else if (line.type === 'finding') io.out(findingText(line))
    else if (line.type === 'mended') io.out(`mended: ${findingText(line)}`)
    else if (line.type === 'away') io.note(`${line.message} Trying again.`)
    else if (line.type === 'pass') io.note(passText(line))
  }
  return open > 0 ? EXIT.failed : EXIT.ok
}

const passText = ({ at, records, unsettled, open, truncated }: WatchLine & { type: 'pass' }): string =>
  `${at}: ${countText(records)} record(s) looked at, ${countText(unsettled)} not settled, ${countText(open)} finding(s) open` +
  `${truncated ? '; there were more records than one pass looks at' : ''}`
