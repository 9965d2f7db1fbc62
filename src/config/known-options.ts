/**
 * Options that there are. A config is loaded without its types being looked at, so a misspelt option would be left out
 * in silence, and the default take its place: an `attemps: 1` that lets a paid call be made three times.
 */
import type { MachineOptions, PipelineOptions, StepOptions } from './builder.js'

/** `true`, or the options inside where the value is an object. */
type Known<T> = { readonly [name in keyof Required<T>]: true | Names }
type Names = { readonly [name: string]: true | Names }

const price = { fixed: true, currency: true } as const

export const PIPELINE_OPTIONS: Known<PipelineOptions> = {
  revision: true,
  description: true,
  accepts: true,
  maxWait: true,
  inputBytesMax: true,
  price,
  lease: { sendWithin: true, failover: true },
}

// oxlint-disable-next-line typescript/no-explicit-any -- which outputs there are does not matter to the names
export const MACHINE_OPTIONS: Known<MachineOptions<any, any>> = { ...PIPELINE_OPTIONS, steps: true }

// oxlint-disable-next-line typescript/no-explicit-any -- as above
export const STEP_OPTIONS: Known<StepOptions<any, any, any>> = {
  description: true,
  use: true,
  request: true,
  output: true,
  deadline: true,
  attempts: true,
  backoff: { initial: true, max: true },
  onUncertain: { retry: true },
  price: {
    ...price,
    perPage: true,
    perMillionTokens: { input: true, output: true },
    amount: true,
    unless: true,
  },
  fuse: true,
  keepRequest: true,
}

/** Throws TypeError naming the option and those there are. `where`: `Step "read"`. */
export const refuseUnknown = (options: object, known: Names, where: string, path = ''): void => {
  for (const [name, value] of Object.entries(options)) {
    const inner = Object.hasOwn(known, name) ? known[name] : undefined
    if (inner === undefined)
      throw new TypeError(
        `${where} has the option "${path}${name}", which there is not. Known: ${Object.keys(known).join(', ')}.`,
      )
    if (inner !== true && typeof value === 'object' && value !== null)
      refuseUnknown(value, inner, where, `${path}${name}.`)
  }
}
