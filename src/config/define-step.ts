/** From a step's options, as a config writes them, to its definition: durations become milliseconds, defaults are filled in. */
import { z } from 'zod'
import type { Price, StepDefinition } from '../machines/pipeline.js'
import { parseDuration } from '../providers/durations.js'
import type { StepOptions } from './builder.js'
import { refuseUnknown, STEP_OPTIONS } from './known-options.js'

/** Throws TypeError or RangeError for an option that there is not and a duration that is none. */
export const defineStep = (name: string, options: StepOptions<string, never, z.ZodType>): StepDefinition => {
  const of = (what: string) => `The ${what} of step "${name}"`
  refuseUnknown(options, STEP_OPTIONS, `Step "${name}"`)
  return {
    name,
    description: options.description ?? `Runs ${name} at ${options.use.join(', then ')}.`,
    use: options.use,
    deadlineMs: parseDuration(options.deadline, of('deadline')),
    attempts: options.attempts ?? 3,
    backoff: {
      initialMs: parseDuration(options.backoff?.initial ?? '500ms', of('initial backoff')),
      maxMs: parseDuration(options.backoff?.max ?? '30s', of('longest backoff')),
    },
    output: options.output,
    request: (options.request as StepDefinition['request']) ?? null,
    onUncertain: options.onUncertain ?? null,
    price: (options.price as Price | undefined) ?? null,
    fuse: options.fuse ?? false,
    keepRequest: options.keepRequest ?? false,
  }
}

/** A function's own step: no wire, so it is short and its retries are for crashes only. */
const OF_FUNCTIONS = { deadline: '5s', attempts: 3, backoff: { initial: '100ms', max: '1s' } } as const

export type FunctionStep = {
  description: string
  use: string
  output: z.ZodType
  price?: StepOptions<string, never, z.ZodType>['price']
  /** What stands for the request; null for steps that read the outputs themselves. */
  request?: (outputs: never) => unknown
}

export const defineFunctionStep = (name: string, { use, price, ...step }: FunctionStep): StepDefinition =>
  defineStep(name, {
    ...OF_FUNCTIONS,
    request: () => null,
    ...step,
    use: [use],
    ...(price !== undefined && { price }),
  })

/**
 * The schema for outputs that it has given once already. One that changes what it takes (a transform) would refuse or
 * change its own output; then nothing is left to check.
 */
export const takenAgain = (schema: z.ZodType): z.ZodType => {
  try {
    z.toJSONSchema(schema, { io: 'input' })
    z.toJSONSchema(schema, { io: 'output' })
    return schema
  } catch {
    return z.unknown()
  }
}
