/**
 * A config's pipelines, compiled and verified: what every role of a process works with. Throws PipelineRefused, or
 * ConfigRefused with everything that is wrong about the config itself.
 */
import { createHash } from 'node:crypto'
import { compilePipeline, NAME_PATTERN } from '../machines/compile.js'
import type { Compiled } from '../machines/compile.js'
import type { Terms } from '../machines/record-machine.js'
import { faultsOfBudgets } from './budgets.js'
import type { EndstateConfig } from './builder.js'

export class ConfigRefused extends Error {
  readonly code = 'config-refused'
}

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

/** A PipelineSet that still has each proof. */
export type CompiledSet = {
  byName(name: string): Compiled | undefined
  byVersion(version: string): Compiled | undefined
  all(): Compiled[]
}

const duplicatesIn = (names: readonly string[]) => names.filter((name, index) => names.indexOf(name) !== index)

export const compileConfig = (config: EndstateConfig): CompiledSet => {
  for (const name of [...Object.keys(config.providers), ...config.sources])
    if (!NAME_PATTERN.test(name))
      throw new ConfigRefused(`The name "${name}" must be of a-z, 0-9 and "-", 1 to 40 characters long.`)
  if (config.pipelines.length === 0) throw new ConfigRefused('The config lists no pipeline; add one to "pipelines".')
  const twice = duplicatesIn(config.pipelines.map(({ definition }) => definition.name))
  if (twice.length > 0) throw new ConfigRefused(`The config defines pipeline "${twice[0]}" twice; rename one of them.`)
  const terms: Terms = Object.fromEntries(
    Object.entries(config.providers).map(([name, factory]) => [name, factory.terms(name)]),
  )
  const compiled = config.pipelines.map(({ definition, own }) => compilePipeline(definition, terms, { sha256, own }))
  const used = new Set(config.pipelines.flatMap(({ definition }) => definition.steps.flatMap(({ use }) => use)))
  const [fault] = faultsOfBudgets(config.budgets ?? [], terms, used)
  if (fault !== undefined) throw new ConfigRefused(fault)
  const names = new Map(compiled.map((pipeline) => [pipeline.definition.name, pipeline]))
  const versions = new Map(compiled.map((pipeline) => [pipeline.version, pipeline]))
  return { byName: (name) => names.get(name), byVersion: (version) => versions.get(version), all: () => compiled }
}
