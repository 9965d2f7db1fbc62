/**
 * A secret is named in the config and read when a worker starts. The name may be shown; the value is held
 * only by the provider that needs it, and is never hashed, logged or put into an error.
 */

export type Secret = { readonly secret: string }

/** Names the environment variable (or the deployment's secret) `name`. Nothing is read here. */
export function env(name: string): Secret {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,99}$/.test(name)) {
    throw new TypeError(
      `A secret is named like an environment variable, for example OPENAI_API_KEY, not ${JSON.stringify(name)}.`,
    )
  }
  return Object.freeze({ secret: name })
}

export const isSecret = (value: unknown): value is Secret =>
  typeof value === 'object' && value !== null && typeof (value as { secret?: unknown }).secret === 'string'
