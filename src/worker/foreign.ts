/**
 * Records of a pipelineVersion that nobody alive knows: a config was edited, or a pipeline removed. They are left to
 * others for `afterMs`, in case those are only restarting, then carried over to the version at hand where that is
 * sound, else settled by force. (design: PIPELINE_CHANGED)
 */
import { carryOver } from '../machines/carry-over.js'
import type { CompiledPipeline, PipelineSet } from '../machines/compiled.js'
import { forceSettle } from '../machines/decide.js'
import type { Decider, DraftSave } from '../machines/draft.js'
import type { RecordDocument } from '../machines/record.js'
import { isSettled } from '../machines/record.js'
import type { Member, RecordStore, RecordWriter } from '../persistence/contract.js'
import type { Clock, Ids } from './contract.js'
import type { Logger } from './logger.js'
import type { Mailboxes } from './mailbox.js'

const LOOK_MS = 1_000
const PAGE = 200

export type ForeignDeps = {
  pipelines: PipelineSet
  store: Pick<RecordStore, 'unknownVersions'>
  records: RecordWriter
  mailboxes: Mailboxes
  members(): readonly Member[]
  clock: Clock
  ids: Ids
  by: string
  log: Logger
  /** Whether sinks are there to be told. */
  facts: boolean
  afterMs: number
  /** Told of every record that moved. */
  saved(before: RecordDocument, after: RecordDocument): void
}

export type ForeignKeeper = {
  start(): void
  close(): Promise<void>
  lookOnce(): Promise<number>
  /** Its version is known to nobody alive: nobody but this keeper may settle it. */
  isForeign(doc: RecordDocument): boolean
}

export const createForeignKeeper = (deps: ForeignDeps): ForeignKeeper => {
  const { clock, log } = deps
  const firstSeenMs = new Map<string, number>()
  const closing = new AbortController()
  let loop: Promise<void> = Promise.resolve()

  const known = () => [
    ...new Set([
      ...deps.pipelines.all().map(({ version }) => version),
      ...deps.members().flatMap((each) => each.pipelines),
    ]),
  ]

  const isForeign = (doc: RecordDocument) => !known().includes(doc.pipelineVersion)

  const save = async (doc: RecordDocument, moved: { save: DraftSave; next: RecordDocument }) => {
    const outcome = await deps.records.save(moved.save)
    if (outcome.kind !== 'saved') return outcome.kind
    log.info(
      { record: doc._id, from: doc.pipelineVersion, to: moved.next.pipelineVersion, status: moved.next.status },
      'A record of an unknown pipeline version was carried over.',
    )
    deps.saved(doc, moved.next)
    return outcome.kind
  }

  const carry = async (id: string): Promise<boolean> => {
    const doc = await deps.records.load(id, { majority: true })
    if (!doc || isSettled(doc.status) || !isForeign(doc)) return false
    const seen = firstSeenMs.get(doc.pipelineVersion) ?? clock.monotonicMs()
    firstSeenMs.set(doc.pipelineVersion, seen)
    if (clock.monotonicMs() - seen < deps.afterMs) return false
    const decider: Decider = { at: clock.now(), by: deps.by, writer: deps.ids.writer(), facts: deps.facts }
    const to = deps.pipelines.byName(doc.pipeline)
    const moved = to ? carryOver(doc, to, decider) : { impossible: `No pipeline is called "${doc.pipeline}" any more.` }
    const outcome = 'save' in moved ? await save(doc, moved) : 'refused'
    if (outcome !== 'refused') return outcome === 'saved'
    const why = 'impossible' in moved ? moved.impossible : `The storage refuses its state in version ${to!.version}.`
    const message = `Its pipeline version ${doc.pipelineVersion} is gone. ${why}`
    const terms = Object.assign({}, ...deps.pipelines.all().map((one) => one.terms)) as CompiledPipeline['terms']
    const error = { code: 'pipeline-unknown', kind: 'not-executed', message } as const
    return (await save(doc, forceSettle(doc, error, decider, terms))) === 'saved'
  }

  const lookOnce = async (): Promise<number> => {
    // A version that came back has its full time again when it goes the next time.
    for (const version of known()) firstSeenMs.delete(version)
    const ids = await deps.store.unknownVersions(known(), PAGE)
    const moved = await Promise.all(ids.map((id) => deps.mailboxes.run(id, () => carry(id))))
    return moved.filter(Boolean).length
  }

  const run = async () => {
    while (!closing.signal.aborted) {
      const moved = await lookOnce().catch((error: unknown) => {
        log.warn({ error: String(error) }, 'Records of unknown pipeline versions could not be looked for.')
        return 0
      })
      if (moved < PAGE) await clock.sleep(LOOK_MS, closing.signal)
    }
  }

  return {
    isForeign,
    lookOnce,
    start() {
      loop = run()
    },
    async close() {
      closing.abort()
      await loop
    },
  }
}
