/**
 * Finding a prediction whose id never reached us, in the account's list, by the request key in its input.
 *
 * Owns which part of the list is looked at and what its entries prove. Only for models with a field of their own for
 * the key: the list is documented to show `input`, not the webhook's URL.
 *
 * - L1 `missing` is said only when every prediction of the time in question was seen with its input: a list that is too
 *   long, breaks off, or holds removed inputs is `unknown`, because `missing` may lead to a second paid call.
 * - L2 Nothing but GETs on our own origin: of a page's `next` only the query is taken.
 *
 * https://replicate.com/docs/reference/http#predictions.list
 */
import { z } from 'zod'
import type { AskAnswer, Question } from '../contract.js'
import { parsePrediction, type Prediction } from '../predictions/prediction.js'

/** Clocks differ, and a request may wait at a gateway. */
const MARGIN_MS = 15 * 60 * 1000
/** Of 100 predictions each. */
const PAGES_MAX = 20

const Page = z.object({ next: z.string().max(4096).nullish(), results: z.array(z.unknown()).max(1000) })

/** One page by its query: its JSON, or why there is none. */
export type GetPage = (query: string) => Promise<{ json: unknown } | { failure: AskAnswer }>

export type Found = { kind: 'found'; prediction: Prediction } | { kind: 'answer'; answer: AskAnswer }

export async function findPrediction(question: Question, tokenField: string, getPage: GetPage): Promise<Found> {
  const matches: Prediction[] = []
  let unseen = false
  let query: string | null = queryOf(question)
  for (let pages = 0; query !== null; pages += 1) {
    if (pages === PAGES_MAX)
      return doubt('list-too-long', `More than ${PAGES_MAX} pages of predictions in the time asked for.`)
    const got = await getPage(query)
    if ('failure' in got) return { kind: 'answer', answer: got.failure }
    const page = Page.safeParse(got.json)
    if (!page.success) return doubt('bad-list', "The provider's list of predictions has another form than documented.")
    for (const entry of page.data.results) {
      const prediction = parsePrediction(entry)
      if (prediction === null || prediction.data_removed === true) unseen = true
      else if (tokenOf(prediction, tokenField) === question.requestKey) matches.push(prediction)
    }
    query = nextQuery(page.data.next ?? null)
  }
  const best = bestOf(matches)
  if (best !== undefined) return { kind: 'found', prediction: best }
  if (unseen) return doubt('inputs-removed', 'Predictions of the time asked for have lost their input.')
  return { kind: 'answer', answer: { kind: 'missing' } }
}

const doubt = (code: string, message: string): Found => ({ kind: 'answer', answer: { kind: 'unknown', code, message } })

function queryOf({ startedAt, sendBy, deadlineMs }: Question): string {
  const after = new Date(startedAt.getTime() - MARGIN_MS)
  const before = new Date(sendBy.getTime() + deadlineMs + MARGIN_MS)
  return `?${new URLSearchParams({ created_after: after.toISOString(), created_before: before.toISOString() }).toString()}`
}

/** L2. Null also for a `next` without a query: following it would begin again. */
function nextQuery(next: string | null): string | null {
  if (next === null || !URL.canParse(next, 'http://localhost')) return null
  return new URL(next, 'http://localhost').search || null
}

function tokenOf({ input }: Prediction, tokenField: string): unknown {
  return typeof input === 'object' && input !== null ? (input as { [field: string]: unknown })[tokenField] : undefined
}

/** A repeat under the same key gives several: one that has a result, else one that may still get it, else the newest. */
const bestOf = (matches: readonly Prediction[]): Prediction | undefined =>
  matches.find(({ status }) => status === 'succeeded') ??
  matches.find(({ status }) => status === 'starting' || status === 'processing') ??
  matches[0]
