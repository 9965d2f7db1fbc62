/**
 * From a config file to an EndstateConfig. The file is TypeScript or JavaScript and is loaded by jiti, because Node 20
 * does not take types off by itself.
 *
 * 1. What the file imports from `endstate` is this process's own instance, wherever the file lies, so that a config
 *    needs no installation of its own. The same holds for `zod`.
 * 2. Whatever is wrong is a ConfigNotLoaded that names the file, the line where there is one, and the fix.
 */
import { stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createJiti } from 'jiti'
import * as zodModule from 'zod'
import type { EndstateConfig } from './builder.js'

export class ConfigNotLoaded extends Error {
  readonly code = 'config-not-loaded'
  readonly file: string
  readonly line: number | null
  constructor(file: string, line: number | null, problem: string, cause?: unknown) {
    super(`The config ${file}${line === null ? '' : `, line ${line},`} can't be used. ${problem}`, { cause })
    this.file = file
    this.line = line
  }
}

const { z } = zodModule
const CONFIG_FILE = 'endstate.config.ts'
const packageRoot = resolve(dirname(fileURLToPath(import.meta.url)), '../..')
export const SHIPPED_CONFIG = join(packageRoot, CONFIG_FILE)
export const SAMPLES_DIR = join(packageRoot, 'samples')

const exists = (path: string) =>
  stat(path).then(
    (found) => found.isFile(),
    () => false,
  )

/** The given file; else endstate.config.ts of the working directory; else the one that comes with the package. */
export const findConfig = async (given: string | null, cwd: string): Promise<string> => {
  if (given !== null) {
    const path = resolve(cwd, given)
    if (await exists(path)) return path
    throw new ConfigNotLoaded(
      path,
      null,
      'There is no such file: give the path of one with --config or ENDSTATE_CONFIG.',
    )
  }
  const own = join(cwd, CONFIG_FILE)
  return (await exists(own)) ? own : SHIPPED_CONFIG
}

const aFunction = z.custom<(...args: never[]) => unknown>((value) => typeof value === 'function', 'is no function')
const providerShape = z.looseObject({ terms: aFunction, create: aFunction, slots: z.int().min(1).max(10_000) })
const pipelineShape = z.looseObject({ definition: z.looseObject({ name: z.string(), steps: z.array(z.unknown()) }) })
const configShape = z.looseObject({
  providers: z.record(z.string(), providerShape),
  pipelines: z.array(pipelineShape).min(1, 'lists no pipeline'),
  sources: z.array(z.string()),
})

/** Where in the config it happened: the first place in the error's message or stack that lies in the file. */
const lineOf = (error: unknown, file: string): number | null => {
  const text = error instanceof Error ? `${error.message}\n${error.stack ?? ''}` : String(error)
  const place = text.indexOf(`${file}:`)
  const found = /^:(\d+)/.exec(text.slice(place + file.length))
  if (place >= 0 && found) return Number(found[1])
  const syntax = /\((\d+):\d+\)/.exec(text)
  return syntax && /ParseError|SyntaxError/.test(text) ? Number(syntax[1]) : null
}

const firstLineOf = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error))
    .split('\n', 1)[0]!
    .replace(/\s+\S+:\d+:\d+$/, '')
    .trim()

/** A name that a module does not give is called all the same by compiled code; said as its author wrote it. */
const asImported = (text: string, modules: { [name: string]: object }): string => {
  const [, from, name] = /^\(0 , _(\w+)\.(\w+)\) is not a function$/.exec(text) ?? []
  const module = Object.keys(modules).find((key) => key.replace(/\W/g, '') === from?.replace(/\W/g, ''))
  if (name === undefined || module === undefined) return text
  const known = Object.keys(modules[module]!).filter((each) => /^[a-z]/.test(each))
  return `"${module}" has no "${name}"; it has ${known.toSorted().join(', ')}`
}

const withStop = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`)

const fixOf = (error: unknown): string => {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  if (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND')
    return ' Install that module beside the config, or mend the path.'
  return ''
}

/**
 * Loads and checks one file. `modules`: what its imports by name give, such as `endstate`; the caller hands in its own
 * instances. Whether the pipelines are sound is decided by `compileConfig`. Throws ConfigNotLoaded.
 */
export const loadConfig = async (file: string, modules: { [name: string]: object }): Promise<EndstateConfig> => {
  const jiti = createJiti(import.meta.url, {
    moduleCache: false,
    fsCache: false,
    virtualModules: { ...modules, zod: zodModule },
  })
  let loaded: unknown
  try {
    loaded = await jiti.import(file)
  } catch (error) {
    const problem = `${withStop(asImported(firstLineOf(error), modules))}${fixOf(error)}`
    throw new ConfigNotLoaded(file, lineOf(error, file), problem, error)
  }
  const config = loaded !== null && typeof loaded === 'object' && 'default' in loaded ? loaded.default : undefined
  if (config === undefined)
    throw new ConfigNotLoaded(file, null, 'It has no default export: end it with "export default es.config({ … })".')
  const checked = configShape.safeParse(config)
  if (checked.success) return config as EndstateConfig
  const wrong = checked.error.issues.map(({ path, message }) => `${path.map(String).join('.') || 'it'}: ${message}`)
  throw new ConfigNotLoaded(
    file,
    null,
    `Its default export is no config (${wrong.slice(0, 5).join('; ')}): make it with "endstate({ providers }).config({ pipelines })".`,
  )
}
