/**
 * What a config's providers become in one process: made where calls are made, with their secrets; readers of webhooks where
 * submissions are taken in; what the report shows of each.
 */
import { RESERVED_PREFIX } from './config/built.js'
import type { EndstateConfig } from './config/builder.js'
import { SettingsRefused } from './config/settings.js'
import { StoreUnavailable } from './persistence/contract.js'
import type { RecordsAccess, WebhookReader } from './providers/contract.js'
import type { Role } from './roles.js'
import type { Ports } from './simulation/ports.js'

export type Secrets = { roles: readonly Role[]; secrets(name: string): string | undefined }

const secretOr =
  ({ secrets }: Secrets, whose: string, refuse: (message: string) => Error) =>
  (name: string): string => {
    const value = secrets(name)
    if (value === undefined || value === '')
      throw refuse(`The secret ${name} is not set. Set the environment variable ${name} ${whose}.`)
    return value
  }

const refusedSetting = (message: string): Error => new SettingsRefused([message])

/** Throws SettingsRefused for one that is not set. */
export const secretsOf = (given: Secrets) => secretOr(given, `(roles: ${given.roles.join(', ')})`, refusedSetting)

/** Providers are made only where calls are made: an API process needs no secret. Throws SettingsRefused. */
export const makeProviders = (config: EndstateConfig, given: Secrets, records: RecordsAccess): Ports['providers'] => {
  if (!given.roles.includes('worker')) return new Map()
  const deps = { secret: secretOr(given, 'for processes with the role "worker"', refusedSetting), records }
  return new Map(Object.entries(config.providers).map(([name, factory]) => [name, factory.create(name, deps)]))
}

/** Only where submissions are taken in; a webhook's secret that is missing there is named when one comes. */
export const makeWebhookReaders = (config: EndstateConfig, given: Secrets): Map<string, WebhookReader> => {
  const readers = new Map<string, WebhookReader>()
  if (!given.roles.includes('api')) return readers
  const secret = secretOr(given, 'for processes with the role "api"', (message) => new StoreUnavailable(message))
  for (const [name, { webhook }] of Object.entries(config.providers)) {
    let reader: WebhookReader | undefined
    // Made when it is first needed: a process that is never told anything needs no secret.
    if (webhook) readers.set(name, (delivery) => (reader ??= webhook(name, { secret }))(delivery))
  }
  return readers
}

/** What the forms of a pipeline bring runs inside the worker: it has no limits and is never down. */
export const isOwn = (provider: string): boolean => !provider.startsWith(RESERVED_PREFIX)

export const reportedProviders = (config: EndstateConfig) =>
  Object.fromEntries(
    Object.entries(config.providers)
      .filter(([name]) => isOwn(name))
      .map(([name, { terms, slots, limits }]) => [name, { terms: terms(name), slots, limits }]),
  )

export const slotsOf = (config: EndstateConfig): { [provider: string]: number } =>
  Object.fromEntries(Object.entries(config.providers).map(([name, { slots }]) => [name, slots]))
