/**
 * The provider whose work is other records: one child for each item, submitted as anybody would, and polled for.
 *
 * 1. A child's key is `<parent>.<step>.<index>` under the parent's source: however often the step is called, there is
 *    one child for an item (P7). Hence `idempotent`.
 * 2. All that a question needs is in the handle and in the children themselves; nothing is held in memory.
 * 3. A child counts as ended once it is settled, in investigation too: the parent's time is bounded.
 */
import { Refusal } from '../../ingest/contract.js'
import { isSettled } from '../../machines/record.js'
import type {
  AskAnswer,
  CallAnswer,
  CallRequest,
  ChildRecord,
  Provider,
  ProviderFactory,
  Question,
  RecordsAccess,
} from '../contract.js'

export type MapPlan = {
  /** Of the children. */
  pipeline: string
  max: number
  /** The step whose output counts; null: all outputs by step name. */
  take: string | null
  /** Null takes the place of what failed, instead of failing the step. */
  partial: boolean
}

type FindPlan = (pipeline: string, step: string) => MapPlan | undefined

const SLOTS = 4
const AT_ONCE = 8
const POLL_AFTER_MS = 1_000
/** Records keep their keys for good. */
const KEY_TTL_MS = 100 * 365 * 24 * 3_600_000
const NAMED_MAX = 5

/** `waitMs`: how long the children of one step may take. */
export const recordsProvider = (find: FindPlan, waitMs: number): ProviderFactory => {
  const terms: ProviderFactory['terms'] = (name) => ({
    name,
    recovery: 'idempotent',
    cost: 'free',
    longestRunMs: waitMs,
    keyTtlMs: KEY_TTL_MS,
    lookupLagMs: 0,
    findsByToken: false,
    polled: true,
    spendMax: null,
  })
  const create: ProviderFactory['create'] = (name, { records }): Provider => ({
    terms: terms(name),
    slots: SLOTS,
    call: (request, signal) => call(find, records, request, signal),
    ask: (question) => ask(find, records, question),
    close: () => Promise.resolve(),
  })
  return { terms, slots: SLOTS, create }
}

const keyOf = (parent: string, step: string, index: number): string => `${parent}.${step}.${index}`

const UNWIRED = {
  kind: 'not-executed',
  code: 'records-unavailable',
  message: 'This process cannot submit records for the step.',
  retryable: true,
} as const

async function call(
  find: FindPlan,
  records: RecordsAccess | undefined,
  request: CallRequest,
  signal: AbortSignal,
): Promise<CallAnswer> {
  const { record, source, pipeline, step, request: items } = request
  const plan = find(pipeline, step)
  if (!plan || !records) return UNWIRED
  const certain = { kind: 'executed', retryable: false, spend: null } as const
  if (!Array.isArray(items)) return { ...certain, code: 'no-list', message: 'What the step maps over is no list.' }
  if (items.length > plan.max) {
    const message = `There are ${items.length} items; the step takes up to ${plan.max}.`
    return { ...certain, code: 'too-many-items', message, evidence: { items: items.length, max: plan.max } }
  }
  if (items.length === 0) return { kind: 'succeeded', output: [], spend: null }
  for (let from = 0; from < items.length; from += AT_ONCE) {
    // What is submitted stays submitted: a repeat finds it by its key.
    if (signal.aborted) return { kind: 'unknown', code: 'no-answer', message: 'Ended while records were submitted.' }
    const some = items.slice(from, from + AT_ONCE).map((json: unknown, at) => ({ json, index: from + at }))
    const submitted = some.map(({ json, index }) =>
      records
        .submit({
          source,
          pipeline: plan.pipeline,
          key: keyOf(record, step, index),
          json,
          metadata: { parent: record, parentStep: step, index: String(index) },
        })
        .then(
          () => null,
          (error: unknown) => refusedAs(error, plan, index),
        ),
    )
    const refused = (await Promise.all(submitted)).find((answer) => answer !== null)
    if (refused) return refused
  }
  return {
    kind: 'accepted',
    handle: `${source}/${pipeline}/${items.length}`,
    pollAfterMs: POLL_AFTER_MS,
    evidence: { items: items.length },
  }
}

/** Refused for good, or no word from the storage: then it is sent again, under the same key. */
const refusedAs = (error: unknown, { pipeline }: MapPlan, index: number): CallAnswer => {
  if (error instanceof Refusal && error.code !== 'unavailable') {
    const message = `Item ${index} is refused as a record of pipeline "${pipeline}" (${error.code}).`
    return { kind: 'executed', code: 'child-refused', message, retryable: false, evidence: { index } }
  }
  const message = 'The storage did not confirm a record in time.'
  return { kind: 'not-executed', code: 'records-unavailable', message, retryable: true }
}

const HANDLE = /^([a-z0-9-]{1,40})\/([a-z0-9-]{1,40})\/(\d{1,4})$/

async function ask(find: FindPlan, records: RecordsAccess | undefined, question: Question): Promise<AskAnswer> {
  const told = HANDLE.exec(question.handle ?? '')
  if (!told) return { kind: 'unknown', code: 'no-handle', message: 'How many records there are was not saved.' }
  const [, source = '', pipeline = '', count = ''] = told
  const plan = find(pipeline, question.step)
  if (!plan || !records) return { kind: 'unknown', code: 'no-plan', message: 'This process does not know the step.' }
  const total = Number(count)
  const keys = Array.from({ length: total }, (_, index) => keyOf(question.record, question.step, index))
  const children = await records.load(source, keys)
  const settled = children.filter((child) => child !== null && isSettled(child.status)).length
  if (settled < total)
    return { kind: 'accepted', handle: question.handle!, pollAfterMs: POLL_AFTER_MS, fraction: settled / total }
  return conclude(plan, children as ChildRecord[])
}

async function conclude(plan: MapPlan, children: readonly ChildRecord[]): Promise<CallAnswer> {
  const failed = children.flatMap(({ status }, index) => (status === 'completed' ? [] : [index]))
  const evidence = { items: children.length, failed: failed.length }
  if (failed.length > 0 && !plan.partial) {
    const named = failed.slice(0, NAMED_MAX).join(', ') + (failed.length > NAMED_MAX ? ', …' : '')
    const message = `${failed.length} of ${children.length} records of pipeline "${plan.pipeline}" did not complete (index ${named}).`
    return { kind: 'executed', code: 'children-failed', message, retryable: false, spend: null, evidence }
  }
  const outputs: unknown[] = []
  // One after the other: together they may be large.
  for (const child of children) outputs.push(child.status === 'completed' ? await outputOf(plan, child) : null)
  return { kind: 'succeeded', output: outputs, spend: null, evidence }
}

const outputOf = async ({ take }: MapPlan, child: ChildRecord): Promise<unknown> => {
  const outputs = await child.outputs()
  return take === null ? outputs : (outputs[take] ?? null)
}
