/**
 * The providers' own ids of calls, kept as one array beside a record, so that news about one is found by index. Added with
 * the save that names them and never taken away: news may come when the call is long over.
 */
import type { StepRecord } from '../machines/record.js'

/** Provider names have no blanks, so that two pairs never look alike. */
export const handleEntry = (provider: string, handle: string): string => `${provider} ${handle}`

export const handlesOfSteps = (steps: { [step: string]: StepRecord }): string[] =>
  Object.values(steps).flatMap(({ attempts }) =>
    attempts.flatMap(({ provider, handle }) => (handle === undefined ? [] : [handleEntry(provider, handle)])),
  )
