/** What flags mean: over the environment, the flag wins. */
import { InvalidArgumentError, type Command } from 'commander'
import { readSettings, type Environment, type Settings } from '../config/settings.js'
import { createApiClient, type ApiClient } from './api-client.js'
import { CliError, EXIT } from './exit-codes.js'
import { parseDuration } from '../providers/durations.js'

export type GlobalFlags = { json?: true; url?: string; source?: string }
export type ServiceFlags = { port?: string; data?: string; config?: string; roles?: string }

/** Those of the command, and those that all have. */
export const flagsOf = <T>(command: Command): T => command.optsWithGlobals() as T

const DEFAULT_URL = 'http://127.0.0.1:8080'

/** Throws CliError for an address that is none. */
export const clientFrom = (flags: GlobalFlags, env: Environment): ApiClient => {
  const url = flags.url ?? (env['ENDSTATE_URL'] || DEFAULT_URL)
  if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
    const message = `--url or ENDSTATE_URL is ${JSON.stringify(url)}. Write an address such as "${DEFAULT_URL}".`
    throw new CliError(EXIT.usage, 'settings-refused', message)
  }
  return createApiClient({ url, source: flags.source ?? null })
}

const NAMES = {
  port: 'ENDSTATE_PORT',
  data: 'ENDSTATE_DATA',
  config: 'ENDSTATE_CONFIG',
  roles: 'ENDSTATE_ROLES',
} as const

/** Throws SettingsRefused. `defaults` are those of the command, below the environment. */
export const settingsFrom = (
  flags: ServiceFlags,
  env: Environment,
  defaults: Environment = {},
): { settings: Settings; environment: Environment } => {
  const given = Object.entries(NAMES).flatMap(([flag, name]) => {
    const value = flags[flag as keyof typeof NAMES]
    return value === undefined ? [] : [[name, value] as const]
  })
  const present = Object.entries(env).filter(([, value]) => value !== undefined && value !== '')
  const environment = { ...defaults, ...Object.fromEntries(present), ...Object.fromEntries(given) }
  return { settings: readSettings(environment), environment }
}

/** For commander: `30s`, `5m`, or seconds. */
export const durationFlag = (text: string): number => {
  try {
    return parseDuration(/^\d+$/.test(text) ? Number(text) * 1000 : text, 'The duration')
  } catch (error) {
    throw new InvalidArgumentError(error instanceof Error ? error.message : String(error))
  }
}

/** For commander: a record's version. */
export const versionFlag = (text: string): number => {
  if (/^[1-9]\d{0,14}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('It is no version: write a whole number, such as 7.')
}

const DAY_MS = 24 * 3_600_000

/** A date is a day in UTC: its beginning, or with `wholeDay` its end. Throws CliError for what is neither date nor time. */
export const timeFlag = (text: string, flag: string, wholeDay: boolean): string => {
  const isDate = /^\d{4}-\d{2}-\d{2}$/.test(text)
  const ms = Date.parse(text)
  if (Number.isNaN(ms) || (!isDate && !/T.*(Z|[+-]\d{2}:\d{2})$/.test(text)))
    throw new CliError(
      EXIT.usage,
      'time-refused',
      `${flag} is ${JSON.stringify(text)}. Write a day such as 2026-03-01, or a time such as 2026-03-01T08:00:00Z.`,
    )
  return new Date(isDate && wholeDay ? ms + DAY_MS : ms).toISOString()
}
