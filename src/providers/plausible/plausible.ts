/** The plausibility check as a step's function: an implausible field sends the record to a person, with the page's region. */
import { z } from 'zod'
import type { ExtractOutput } from '../extract/extract-output.js'
import { StepRefused } from '../compute/refused.js'
import { checkPlausible, RULES, type Finding } from './check-plausible.js'

/** What the step answers when nothing is implausible. */
export const PlausibleOutput = z.object({ checked: z.int().min(0) })
export type PlausibleOutput = z.infer<typeof PlausibleOutput>

const NAMED_MAX = 2

/** Throws StepRefused `implausible`. It names fields, places and rules, never what stands there. */
export const plausible = (extracted: ExtractOutput): PlausibleOutput => {
  const findings = checkPlausible(extracted)
  const [first] = findings
  if (!first) return { checked: extracted.fields.length }
  const more = findings.length > NAMED_MAX ? ` and ${findings.length - NAMED_MAX} more` : ''
  throw new StepRefused('implausible', `${findings.slice(0, NAMED_MAX).map(describe).join('; ')}${more}.`, {
    field: first.field,
    nth: first.nth,
    rule: first.rule,
    page: first.page,
    box: boxText(first),
    findings: findings.length,
  })
}

const boxText = ({ box }: Finding): string => [box.x0, box.y0, box.x1, box.y1].map(Math.round).join(',')

const describe = (finding: Finding): string =>
  `${finding.field} ${finding.nth} on page ${finding.page} at ${boxText(finding)}: ${RULES[finding.rule]} (${finding.rule})`
