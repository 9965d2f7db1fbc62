/**
 * Options that there are. A config is loaded without its types being looked at, so a misspelt option would be left out
 * in silence, and the default take its place: an `attemps: 1` that lets a paid call be made three times.
 */
import type { MachineOptions, PipelineOptions, StepOptions } from './builder.js'
import type { ComputeOptions, MapOptions, VoteOptions } from './chain-types.js'

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

// oxlint-disable-next-line typescript/no-explicit-any -- as above
export const COMPUTE_OPTIONS: Known<ComputeOptions<any>> = {
  description: true,
  output: true,
  price: STEP_OPTIONS.price,
}

// oxlint-disable-next-line typescript/no-explicit-any -- as above
export const MAP_OPTIONS: Known<MapOptions<any, any, any, any>> = {
  description: true,
  over: true,
  // A pipeline, not options of this form.
  pipeline: true,
  take: true,
  max: true,
  wait: true,
  partial: true,
}

const { use: _, request: __, ...ofVoters } = STEP_OPTIONS
// oxlint-disable-next-line typescript/no-explicit-any -- as above
export const VOTE_OPTIONS: Known<VoteOptions<any, any, any>> = {
  ...ofVoters,
  of: true,
  request: true,
  agree: true,
  quorum: true,
  merge: true,
  // Its options are TIE_OPTIONS.
  tieBreaker: true,
}
// oxlint-disable-next-line typescript/no-explicit-any -- as above
export const TIE_OPTIONS: Known<NonNullable<VoteOptions<any, any, any>['tieBreaker']>> = {
  use: true,
  request: true,
  deadline: true,
  attempts: true,
  backoff: ofVoters.backoff,
  onUncertain: ofVoters.onUncertain,
}

const NAME = /^[a-z0-9-]{1,40}$/

/** For names of which states and steps are made. `what`: `The parallel`. Throws TypeError. */
export const checkName = (name: string, what: string): void => {
  if (!NAME.test(name))
    throw new TypeError(`${what} "${name}" needs a name of a-z, 0-9 and "-", 1 to 40 characters long.`)
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
