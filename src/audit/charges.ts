/**
 * Invariants about what customers owe (P3). Pure.
 *
 * What a step's result costs was decided when its answer came, and stands in the history: so the charge is known exactly
 * without the pipeline's functions. Beyond that, where the price is fixed and has no `unless`, or there is none, the
 * answer's own amount is compared with the price of the version that was pinned then. An amount by pages, tokens or a
 * function, and whether an `unless` was right, is not judged.
 */
import type { Price } from '../machines/pipeline.js'
import type { Charge, RecordDocument } from '../machines/record.js'
import { answerOf } from './attempts.js'
import type { AuditView, Fault } from './contract.js'
import { versionsOf } from './history.js'

type Owed = Pick<Charge, 'amount' | 'currency'> | null | undefined

const moneyText = (owed: Owed): string => (owed ? `${owed.amount} ${owed.currency}` : 'no charge')
const isSame = (a: Owed, b: Owed): boolean => moneyText(a) === moneyText(b)
const isZero = (amount: string): boolean => /^0(\.0+)?$/.test(amount)

/** What a price without functions asks for one result; undefined where that can't be known. */
const priced = (price: Price | null): Owed => {
  if (price === null) return null
  if (!('fixed' in price) || price.unless !== undefined) return undefined
  return isZero(price.fixed) ? null : { amount: price.fixed, currency: price.currency }
}

const priceThen = (doc: RecordDocument, step: string, attempt: number, { pipelines }: AuditView): Owed => {
  const index = doc.history.findIndex(
    ({ event }) => event.type === 'CALL_SUCCEEDED' && event.step === step && event.attempt === attempt,
  )
  const definition = pipelines(versionsOf(doc)[index] ?? '')?.definition.steps.find(({ name }) => name === step)
  return definition && priced(definition.price)
}

const stepCharges = (doc: RecordDocument, view: AuditView): Fault[] =>
  Object.entries(doc.steps).flatMap(([step, { result }]): Fault[] => {
    const answer = result && answerOf(doc, step, result.attempt)
    if (!answer) return []
    const of = { step, attempt: result.attempt }
    const faults: Fault[] = []
    const found = doc.charges[step]
    if (!isSame(answer.charge, found))
      faults.push({ ...of, expected: moneyText(answer.charge), found: moneyText(found) })
    const price = priceThen(doc, step, result.attempt, view)
    if (price !== undefined && !isSame(price, answer.charge))
      faults.push({
        ...of,
        expected: `${moneyText(price)}, by the price`,
        found: `${moneyText(answer.charge)}, by the answer`,
      })
    return faults
  })

/** The record's own price: once, when it completes. */
const recordCharge = (doc: RecordDocument, { pipelines }: AuditView): Fault[] => {
  const found = doc.charges['record']
  if (doc.status !== 'completed')
    return found ? [{ expected: `no charge for the record while it is ${doc.status}`, found: moneyText(found) }] : []
  const pinned = pipelines(doc.pipelineVersion)
  if (!pinned) return []
  const { price } = pinned.definition
  const owed = price && { amount: price.fixed, currency: price.currency }
  return isSame(owed, found)
    ? []
    : [{ expected: `${moneyText(owed)} for the record`, found: `${moneyText(found)} for the record` }]
}

export const chargesAreExact = (doc: RecordDocument, view: AuditView): Fault[] => [
  ...stepCharges(doc, view),
  ...recordCharge(doc, view),
]

export const chargeHasResult = (doc: RecordDocument): Fault[] =>
  Object.entries(doc.charges).flatMap(([key, { attempt }]): Fault[] => {
    if (key === 'record')
      return attempt === null ? [] : [{ expected: 'no attempt behind a charge for the record', found: String(attempt) }]
    const result = doc.steps[key]?.result
    if (!result) return [{ step: key, expected: 'a result for this charge', found: 'none' }]
    return result.attempt === attempt
      ? []
      : [{ step: key, expected: `charged for attempt ${result.attempt}`, found: `for attempt ${attempt ?? 'none'}` }]
  })

export const simulatedStaysInside = (doc: RecordDocument): Fault[] => {
  const faults: Fault[] = Object.entries(doc.charges).flatMap(([step, { simulated = false }]) =>
    simulated === doc.simulated
      ? []
      : [{ step, expected: `a charge with simulated: ${doc.simulated}`, found: `simulated: ${simulated}` }],
  )
  if (doc.simulated && doc.outbox.length > 0)
    faults.push({ expected: 'no facts for others', found: `${doc.outbox.length} in the outbox` })
  return faults
}
