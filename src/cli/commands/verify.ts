/** `verify`: proves each pipeline of a config, and says how long a record may take at the worst. */
import { findConfig, loadConfig } from '../../config/load-config.js'
import type { EndstateConfig, PipelineSource } from '../../config/builder.js'
import { compileConfig } from '../../config/pipelines.js'
import { CONFIG_MODULES } from '../config-modules.js'
import type { Compiled } from '../../machines/compile.js'
import { PipelineRefused } from '../../machines/compile.js'
import type { PathPart } from '../../machines/longest-path.js'
import { EXIT, type ExitCode } from '../exit-codes.js'
import { printJson, type Io } from '../io.js'
import { boundText, tableText } from '../text.js'

type Finding = { name: string; compiled: Compiled } | { name: string; problems: readonly string[] }

export const verifyConfig = async (io: Io, file: string | null, json: boolean): Promise<ExitCode> => {
  const path = await findConfig(file, io.cwd)
  const config = await loadConfig(path, CONFIG_MODULES)
  const findings = config.pipelines.map((pipeline) => examine(config, pipeline))
  const sound = findings.every((finding) => 'compiled' in finding)
  // What is wrong with the config as a whole shows only when all its pipelines are in it.
  if (sound) compileConfig(config)
  if (json) printJson(io, { config: path, ok: sound, pipelines: findings.map(jsonOf) })
  else {
    io.note(`Verifying ${path}`)
    for (const finding of findings) for (const line of textOf(finding)) io.out(line)
  }
  return sound ? EXIT.ok : EXIT.failed
}

const examine = (config: EndstateConfig, pipeline: PipelineSource): Finding => {
  const { name } = pipeline.definition
  try {
    const [compiled] = compileConfig({ ...config, pipelines: [pipeline] }).all() as Compiled[]
    return { name, compiled: compiled! }
  } catch (error) {
    if (error instanceof PipelineRefused) return { name, problems: error.problems }
    throw error
  }
}

const jsonOf = (finding: Finding): unknown => {
  if ('problems' in finding) return { name: finding.name, ok: false, problems: finding.problems }
  const { version, worstCaseMs, deadlineMs, verification } = finding.compiled
  const { nodes, states, path } = verification
  return { name: finding.name, ok: true, version, worstCaseMs, deadlineMs, nodes, states, path }
}

const textOf = (finding: Finding): string[] => {
  if ('problems' in finding)
    return ['', `Pipeline ${finding.name} is refused:`, ...finding.problems.map((problem) => `  - ${problem}`)]
  const { version, worstCaseMs, deadlineMs, verification } = finding.compiled
  const states = [...verification.states]
    .sort((a, b) => b.worstCaseMs - a.worstCaseMs)
    .map(({ state, worstCaseMs: ms, description }) => [
      `  ${state}`,
      ms === 0 ? 'settled' : `at most ${boundText(ms)}`,
      description ?? '',
    ])
  return [
    '',
    `Pipeline ${finding.name} (${version.slice(0, 12)}) always settles, at the latest ${boundText(worstCaseMs)} after acceptance.`,
    `Nothing new is started after ${boundText(deadlineMs)}; ${verification.nodes} situations were examined.`,
    ...tableText(states),
    `The longest way to an end takes ${secondsText(worstCaseMs)}:`,
    ...tableText(verification.path.map(partCells)),
  ]
}

/** `xstate.after.lease of read.record.read.calling` as `lease of read`; other events as they are. */
const eventText = (event: string): string => /^xstate\.after\.(.*?)\.record\b/.exec(event)?.[1] ?? event

/** Exact, because the parts add up to the bound. */
const secondsText = (ms: number): string => `${ms / 1000} s`

const partCells = ({ state, timer, ms, until, by, to }: PathPart): string[] => {
  const ahead = until === state || until === to ? '' : `as far as ${until}, `
  const cause = timer === null || by === timer ? '' : ` by ${eventText(by)}`
  return [
    `  ${state}`,
    timer === null ? 'one of its regions' : `${eventText(timer)}: ${secondsText(ms)}`,
    `${ahead}then ${to}${cause}`,
  ]
}
