/**
 * Which blobs a record names: kept as one array beside it, so that garbage collection can ask by index. Blobs are added
 * with the save that names them and never taken away: a result that was replaced is still in the history.
 */
import type { RecordDocument, StepRecord } from '../machines/record.js'

type Named = { blob?: string | undefined }
const named = (payload: object | null | undefined): string[] => {
  const blob = (payload as Named | null | undefined)?.blob
  return blob === undefined ? [] : [blob]
}

export const blobsOfSteps = (steps: { [step: string]: StepRecord }): string[] =>
  Object.values(steps).flatMap(({ attempts, result, candidate, discarded }) => [
    ...attempts.flatMap(({ request }) => named(request)),
    ...named(result?.payload),
    ...named(candidate?.payload),
    ...discarded.flatMap(({ payload }) => named(payload)),
  ])

export const blobsOf = (doc: RecordDocument): string[] => [...named(doc.input.payload), ...blobsOfSteps(doc.steps)]
