/**
 * What every whole answer of OpenAI has in common: its text becomes the output, its usage the spend. Pure.
 */
import type { Evidence, Usage } from '../../machines/record.js'
import type { CallAnswer, LearnedLimits } from '../contract.js'
import { spendOfUsage } from '../price-table.js'
import type { OpenAiSettings } from './openai-options.js'
import { codeOf } from './refusals.js'

/** Of the exchange that brought the answer. */
export type Carried = { evidence: Evidence; limits: LearnedLimits | null }

/** What is known of a call whichever way it ended. */
export type Told = Carried & { usage: Usage | null; handle?: string }

type Partial = Extract<CallAnswer, { kind: 'executed' | 'partial' }>
export type Ending = Extract<CallAnswer, { kind: 'succeeded' }> | Partial

export function unusable(
  code: string,
  message: string,
  retryable: boolean,
  told: Told,
  { price }: OpenAiSettings,
): Partial {
  return { kind: 'partial', code, message, retryable, spend: spendOfUsage(price, told.usage), ...told }
}

/** It ended as the model wanted. Empty text is a call of a tool, or nothing. */
export function finished(text: string, told: Told, settings: OpenAiSettings): Ending {
  if (text === '') return unusable('no-text', 'The model answered without any text.', true, told, settings)
  const spend = spendOfUsage(settings.price, told.usage)
  if (settings.output === 'text') return { kind: 'succeeded', output: text, spend, ...told }
  try {
    return { kind: 'succeeded', output: JSON.parse(text) as unknown, spend, ...told }
  } catch {
    return unusable('not-json', 'The model answered with text that is no JSON.', true, told, settings)
  }
}

export const refused = (told: Told, settings: OpenAiSettings): Ending =>
  unusable('refused', 'The model refused to answer.', false, told, settings)

/** Cut by a limit or a filter: the same request would be cut again. */
export const cutShort = (reason: unknown, told: Told, settings: OpenAiSettings): Ending =>
  unusable(codeOf(reason) ?? 'incomplete', 'The answer ended before it was complete.', false, told, settings)

/** `input` holds `cached`. Null when nothing was told. */
export function usageOf(
  input: number | undefined,
  cached: number | undefined,
  output: number | undefined,
): Usage | null {
  if (input === undefined && output === undefined) return null
  return {
    ...(input !== undefined && { inputTokens: input }),
    ...(cached !== undefined && { cachedInputTokens: cached }),
    ...(output !== undefined && { outputTokens: output }),
  }
}
