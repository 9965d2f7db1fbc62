/**
 * What a chain has come to: its forms, and the functions and child records behind the built-in providers that they use.
 * Here the providers that a config gets by its pipelines are made.
 *
 * B1 Their names begin with `endstate-`, which no provider of a config's own may.
 * B2 One provider serves all pipelines: it finds its function by the names of pipeline and step, in every process that
 *    has the config.
 */
import { computeProvider, recordsProvider, type MapPlan, type Run } from '../providers/built-in.js'
import type { ProviderFactory } from '../providers/contract.js'
import type { Form } from './forms.js'

export type BuiltIn = { provider: string; run: Run } | { provider: string; plan: MapPlan; waitMs: number }
export type BuiltIns = { readonly [step: string]: BuiltIn }
export type Built = { readonly forms: readonly Form[]; readonly builtIns: BuiltIns }

export const NOTHING_BUILT: Built = { forms: [], builtIns: {} }

export const RESERVED_PREFIX = 'endstate-'
export const COMPUTE_PROVIDER = `${RESERVED_PREFIX}compute`
export const VOTE_PROVIDER = `${RESERVED_PREFIX}vote`
/** How long a job may run is among a provider's terms: one for each time that maps wait. */
export const recordsProviderName = (waitMs: number): string => `${RESERVED_PREFIX}records-${Math.ceil(waitMs / 1_000)}s`

type Source = { definition: { name: string; accepts: readonly string[] }; builtIns?: BuiltIns }

const takesJson = (accepts: readonly string[]): boolean =>
  accepts.some((type) => ['application/json', 'application/*', '*/*'].includes(type.toLowerCase()))

/** Throws TypeError for a map whose pipeline the config doesn't list or that takes no JSON. */
export const builtInProviders = (pipelines: readonly Source[]): { [name: string]: ProviderFactory } => {
  const all = pipelines.flatMap(({ definition, builtIns = {} }) =>
    Object.entries(builtIns).map(([step, builtIn]) => ({ pipeline: definition.name, step, builtIn })),
  )
  const found = new Map(all.map(({ pipeline, step, builtIn }) => [`${pipeline}/${step}`, builtIn]))
  const providers: { [name: string]: ProviderFactory } = {}
  for (const { pipeline, step, builtIn } of all) {
    const { provider } = builtIn
    if ('run' in builtIn) {
      providers[provider] ??= computeProvider((inPipeline, ofStep) => {
        const one = found.get(`${inPipeline}/${ofStep}`)
        return one && 'run' in one ? one.run : undefined
      })
      continue
    }
    const child = pipelines.find(({ definition }) => definition.name === builtIn.plan.pipeline)
    const where = `Step "${step}" of pipeline "${pipeline}" maps to pipeline "${builtIn.plan.pipeline}", which`
    if (!child) throw new TypeError(`${where} the config does not list; add it to "pipelines".`)
    if (!takesJson(child.definition.accepts))
      throw new TypeError(`${where} takes no JSON; add "application/json" to its "accepts".`)
    providers[provider] ??= recordsProvider((inPipeline, ofStep) => {
      const one = found.get(`${inPipeline}/${ofStep}`)
      return one && 'plan' in one ? one.plan : undefined
    }, builtIn.waitMs)
  }
  return providers
}
