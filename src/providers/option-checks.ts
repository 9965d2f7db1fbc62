/**
 * Checks that the options of several adapters share. Messages name the form that is expected, never a value.
 */
import { z } from 'zod'
import { DECIMAL_PATTERN } from './decimal.js'
import { isSecret, type Secret } from './secret.js'

export const secretOption = z.custom<Secret>(isSecret, "is not written as env('NAME')")
export const fieldOption = z.string().regex(/^\w{1,100}$/, "is no name of a model's field")
export const functionOption = z.custom<never>((value) => typeof value === 'function', 'is no function')
/** RFC 9110, 5.6.2. */
export const headerName = z.string().regex(/^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/, 'is no header name')
/** These say where a request ends: they are ours. */
const FRAMING = new Set(['content-length', 'transfer-encoding', 'connection', 'expect', 'host'])

export const headerTrouble = (name: string): string | null => {
  if (FRAMING.has(name.toLowerCase())) return 'is set by the provider itself'
  return headerName.safeParse(name).success ? null : 'is no header name'
}

export const headersOption = z
  .record(z.string(), z.union([z.string(), secretOption]))
  .superRefine((headers, context) => {
    for (const name of Object.keys(headers)) {
      const wrong = headerTrouble(name)
      if (wrong !== null) context.addIssue({ code: 'custom', path: [name], message: wrong })
    }
  })
  .default({})
const perMinute = z.int().min(1).max(1_000_000_000).exactOptional()
/** What the account is known to have. */
export const limitsOption = z.strictObject({ requestsPerMinute: perMinute, tokensPerMinute: perMinute })
/** Fields of the body that the adapter has no option for; `own` are those that it sets itself. */
export const extraOption = (own: readonly string[]) =>
  z
    .record(z.string(), z.unknown())
    .superRefine((extra, context) => {
      for (const field of own)
        if (field in extra)
          context.addIssue({ code: 'custom', path: [field], message: 'is set by the provider: use its own option' })
    })
    .default({})
export const slotsOption = z.int().min(1).max(10_000)
export const responseBytesOption = z
  .int()
  .min(1)
  .max(1024 * 1024 * 1024)
  .default(16 * 1024 * 1024)
export const spendMaxOption = z.strictObject({
  amount: z.string().regex(DECIMAL_PATTERN, 'is no decimal string such as "0.40"'),
  currency: z.string().regex(/^[A-Z]{3}$/, 'is no currency such as "EUR"'),
})

/** What is wrong, by option; of one that there is not, those that there are. */
export const wrongWith = (error: z.ZodError, schema: z.ZodType): string =>
  error.issues.map((issue) => `${issue.path.map(String).join('.') || 'options'}: ${wordsOf(issue, schema)}`).join('; ')

const wordsOf = (issue: z.core.$ZodIssue, schema: z.ZodType): string => {
  if (issue.code === 'invalid_type' && issue.message.endsWith('received undefined'))
    return `is missing, write a ${issue.expected}`
  if (issue.code !== 'unrecognized_keys') return issue.message
  const known = issue.path.length === 0 && schema instanceof z.ZodObject ? Object.keys(schema.shape) : []
  const names = issue.keys.map((key) => `"${key}"`).join(', ')
  return `there is no ${names}${known.length > 0 ? `. Known: ${known.toSorted().join(', ')}` : ''}`
}

/** `what`: "A cog provider". Throws TypeError. */
export function readBaseUrl(text: string, what: string): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    const found = JSON.stringify(text.replace(/\/\/.*@/s, '//***@').slice(0, 120))
    throw new TypeError(`${what} has the url ${found}; it needs an absolute url that begins with http:// or https://.`)
  }
  if (url.username !== '' || url.password !== '') {
    throw new TypeError(`${what} has a url with a user or password: give them as a secret with env('NAME') instead.`)
  }
  return url
}
