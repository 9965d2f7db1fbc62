/**
 * Checks that the options of several adapters share. Messages name the form that is expected, never a value.
 */
import { z } from 'zod'
import { DECIMAL_PATTERN } from './decimal.js'
import { isSecret, type Secret } from './secret.js'

export const secretOption = z.custom<Secret>(isSecret, "is not written as env('NAME')")
export const fieldOption = z.string().regex(/^\w{1,100}$/, "is no name of a model's field")
export const functionOption = z.custom<never>((value) => typeof value === 'function', 'is no function')
/** Headers of a server of one's own, or of a gateway before it. */
export const headersOption = z
  .record(z.string().regex(/^[A-Za-z0-9-]{1,100}$/, 'is no header name'), z.union([z.string(), secretOption]))
  .default({})
export const slotsOption = z.int().min(1).max(10_000)
export const responseBytesOption = z
  .int()
  .min(1)
  .max(1024 * 1024 * 1024)
export const spendMaxOption = z.strictObject({
  amount: z.string().regex(DECIMAL_PATTERN, 'is no decimal string such as "0.40"'),
  currency: z.string().regex(/^[A-Z]{3}$/, 'is no currency such as "EUR"'),
})

export const RESPONSE_BYTES_DEFAULT = 16 * 1024 * 1024

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
