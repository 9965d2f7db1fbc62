/**
 * The turns around calls: an intent under a slot, the call, its answer; and the questions about calls that are in doubt
 * or run as jobs.
 *
 * W2 A slot is held from before the intent is saved until its answer is; so calls never exceed a provider's slots (P8).
 * W3 The next step's intent rides in the save of an answer only where its provider has a free slot here, or is the one
 *    that answered, and nobody waits for one (P12).
 */
import type { CompiledPipeline } from '../machines/compiled.js'
import { mayFuse } from '../machines/decide.js'
import type { CallIntent, Draft } from '../machines/draft.js'
import type { CallEvent } from '../machines/events.js'
import type { RecordDocument } from '../machines/record.js'
import type { Permit } from '../providers/gate.js'
import type { Slot } from '../providers/slots.js'
import type { Context } from './context.js'
import { apply } from './context.js'
import { asUnstorable } from './payloads.js'
import type { Prepared } from './prepare.js'
import { createProgress } from './progress.js'
import type { Turn } from './turn.js'

export type SavedTurn = Extract<Turn, { kind: 'saved' }>

/** What goes with the intent of a turn, by step: two steps may start at one provider. */
export type Claim = { slot: Slot; permit: Permit; prepared: Prepared }
export type Claims = Map<string, Claim>

/** The slot of a call whose answer is at hand: another step may go on in it, which then gives it back. */
type Own = { provider: string; slot: Slot; handedOn: boolean }

type Taken = { slot: Slot; permit: Permit; giveBack(): void }

const take = ({ slots, gate }: Context, provider: string, own: Own | undefined): Taken | null => {
  const handsOn = own?.provider === provider && !own.handedOn
  const permit = gate.take(provider)
  const slot = permit && (handsOn ? own.slot : slots.get(provider)?.acquire())
  if (!permit || !slot) {
    permit?.giveBack()
    return null
  }
  if (handsOn) own.handedOn = true
  let held = true
  return {
    slot,
    permit,
    giveBack() {
      if (!held) return
      held = false
      permit.giveBack()
      if (handsOn) own.handedOn = false
      else slot.release()
    },
  }
}

/** W3: takes a slot for each waiting step that may start in this same save. */
export const fuseNext = async (
  context: Context,
  draft: Draft,
  claims: Claims,
  onAbandon: (undo: () => void) => void,
  own?: Own,
): Promise<void> => {
  if (context.isClosed()) return
  for (const { provider, step } of draft.doc.queue) {
    if (!mayFuse(draft.compiled, step, provider) || !context.nobodyWaits(provider)) continue
    const taken = take(context, provider, own)
    if (!taken) continue
    onAbandon(() => {
      claims.delete(step)
      taken.giveBack()
    })
    // Another step may stand before this one in the provider's line.
    const started = await context.start(draft, provider, onAbandon, step)
    if (started) claims.set(step, { slot: taken.slot, permit: taken.permit, prepared: started.prepared })
    else taken.giveBack()
  }
}

/** Carries out what a saved turn asks for: its calls, which hold claims of their own, and its questions. */
export const followTurn = (context: Context, turn: SavedTurn, claims: Claims): void => {
  for (const call of turn.calls) {
    const claim = claims.get(call.step)
    if (!claim) continue
    context.track(runAndFollow(context, turn, call, claim), 'A call')
  }
  for (const errand of turn.errands) context.track(runErrand(context, turn.doc, errand), 'A question')
}

const compiledOf = (context: Context, doc: RecordDocument): CompiledPipeline =>
  context.pipelines.byVersion(doc.pipelineVersion) as CompiledPipeline

const tellProgress = (context: Context, record: string, { step, attempt, generation }: CallIntent) =>
  createProgress(
    { step, attempt, generation },
    () => context.clock.monotonicMs(),
    (event) => context.track(saveProgress(context, record, event), 'Progress'),
  )

const ANSWER_RETRY_MS = 500
const PROGRESS_TRIES = 20

/** A call's own id is worth several tries: without it a doubt can't be asked about. */
const saveProgress = async (context: Context, record: string, event: CallEvent): Promise<void> => {
  for (let tries = 0; tries < PROGRESS_TRIES && !context.stopping.aborted; tries += 1) {
    const turn = await context.turns(record, async (draft) => void (await apply(context, draft, event)))
    if (turn.kind !== 'unknown') return
    await context.clock.sleep(ANSWER_RETRY_MS, context.stopping)
  }
}

/** Gives the slot back, or hands it on. */
export const runAndFollow = async (
  context: Context,
  turn: SavedTurn,
  intent: CallIntent,
  { slot, permit, prepared }: Claim,
): Promise<void> => {
  const own: Own = { provider: intent.provider, slot, handedOn: false }
  try {
    const event = await context.runCall({
      intent,
      prepared,
      doc: turn.doc,
      compiled: compiledOf(context, turn.doc),
      savedFromMs: turn.savedFromMs,
      signal: context.stopping,
      onProgress: tellProgress(context, turn.doc._id, intent),
    })
    if (event.type === 'CALL_NOT_SENT' || !prepared.ok) permit.giveBack()
    await takeAnswer(context, { record: turn.doc._id, event, claims: new Map(), own })
  } finally {
    if (!own.handedOn) slot.release()
  }
}

/** Jobs of a settled record that were left without an end. */
export const cancelJobs = (context: Context, doc: RecordDocument): void => {
  for (const [step, { attempts }] of Object.entries(doc.steps))
    for (const { n, handle, outcome } of attempts)
      if (handle !== undefined && outcome === 'uncertain')
        context.track(runErrand(context, doc, { kind: 'cancel', step, attempt: n }), 'A wish to end a job')
}

/** Asks, and takes what the provider tells as the answer of the call. */
const runErrand = async (
  context: Context,
  doc: RecordDocument,
  errand: SavedTurn['errands'][number],
): Promise<void> => {
  const event = await context.runErrand(errand, doc, compiledOf(context, doc), context.stopping)
  if (event) await takeAnswer(context, { record: doc._id, event, claims: new Map() })
}

type Answer = { record: string; event: CallEvent; claims: Claims; own?: Own }

const takeAnswer = async (context: Context, answer: Answer): Promise<void> => {
  const turn = await saveAnswer(context, answer)
  if (turn.kind === 'saved') {
    settleMoney(context, turn.doc, answer.event)
    followTurn(context, turn, answer.claims)
  }
  // A lease that runs out would lead to another call for an answer that no save can hold.
  if (turn.kind === 'refused') await endRefused(context, turn)
}

/** What was reserved for the attempt and not spent is free again. */
const settleMoney = ({ gate }: Context, doc: RecordDocument, event: CallEvent): void => {
  const { step, attempt: n } = event
  const attempt = doc.steps[step]?.attempts.find((each) => each.n === n)
  if (!attempt || attempt.outcome === null) return
  gate.settle({ record: doc._id, step, attempt: n, provider: attempt.provider }, attempt.spend)
}

export const endRefused = ({ settleByForce }: Context, turn: Extract<Turn, { kind: 'refused' }>): Promise<void> =>
  settleByForce(turn.doc._id, turn.doc.version, turn.code, `The storage refuses its next state: ${turn.message}`)

/** Keeps at it while the outcome is unknown: the answer was paid for. Ends with the process at the latest. */
const saveAnswer = async (context: Context, answer: Answer): Promise<Turn> => {
  const { record, event, claims, own } = answer
  for (;;) {
    const turn = await context.turns(record, async (draft, onAbandon) => {
      if (await apply(context, draft, event)) await fuseNext(context, draft, claims, onAbandon, own)
    })
    if (turn.kind === 'refused' && event.type !== 'RESULT_UNSTORABLE') {
      context.log.error({ record, code: turn.code }, 'The storage refuses this answer for good; kept as unstorable.')
      return saveAnswer(context, { ...answer, event: await asUnstorable(context.blobs, event, turn.code) })
    }
    if (turn.kind !== 'unknown' || context.stopping.aborted) return turn
    await context.clock.sleep(ANSWER_RETRY_MS, context.stopping)
  }
}
