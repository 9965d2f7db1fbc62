/**
 * Does a provider's output fit the step's schema? The answer for people names where it does not fit, never
 * what was there: an output is content, and so are the keys of a map in it. A key is shown only when the
 * schema itself declares it.
 */
import { z } from 'zod'

export type OutputCheck =
  { ok: true; output: unknown } | { ok: false; code: 'output-schema' | 'schema-threw'; message: string }

const ISSUES_SHOWN = 5
const declaredKeys = new WeakMap<z.ZodType, Set<string>>()

/** `output` is the schema's own output: unknown keys stripped, defaults and transforms applied. */
export function checkOutput(schema: z.ZodType, output: unknown): OutputCheck {
  let parsed: z.ZodSafeParseResult<unknown>
  try {
    parsed = schema.safeParse(output)
  } catch (error) {
    const what = error instanceof Error ? error.name.slice(0, 40) : 'something'
    return {
      ok: false,
      code: 'schema-threw',
      message: `The step's output schema threw ${what}. Async checks are not possible in it.`,
    }
  }
  if (parsed.success) return { ok: true, output: parsed.data }

  const issues = parsed.error.issues
  const shown = issues.slice(0, ISSUES_SHOWN).map((issue) => `${showPath(issue.path, schema)} (${describe(issue)})`)
  const more = issues.length > ISSUES_SHOWN ? ` and ${issues.length - ISSUES_SHOWN} more` : ''
  return {
    ok: false,
    code: 'output-schema',
    message: `The output does not fit the step's schema at ${shown.join(', ')}${more}.`,
  }
}

/** The rule that was broken, in words that come from the schema. Zod's own message may quote the value. */
function describe(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_type') return `expected ${issue.expected}`
  return issue.code.replaceAll('_', ' ')
}

/** A place in an output; keys that the schema does not declare are content and shown as `*`. */
export function showPath(path: readonly PropertyKey[], schema: z.ZodType): string {
  if (path.length === 0) return 'the top'
  const keys = keysOf(schema)
  return path.map((part) => (typeof part === 'number' || keys.has(String(part)) ? String(part) : '*')).join('.')
}

/** Every property name that the schema declares anywhere. */
function keysOf(schema: z.ZodType): Set<string> {
  let keys = declaredKeys.get(schema)
  if (keys === undefined) {
    keys = new Set()
    try {
      collect(z.toJSONSchema(schema, { unrepresentable: 'any', io: 'input' }), keys)
    } catch {
      // A schema that can't be described shows no keys; the path's length still tells something.
    }
    declaredKeys.set(schema, keys)
  }
  return keys
}

function collect(node: unknown, keys: Set<string>): void {
  if (Array.isArray(node)) return node.forEach((item) => collect(item, keys))
  if (typeof node !== 'object' || node === null) return
  for (const [name, value] of Object.entries(node)) {
    if (name === 'properties' && typeof value === 'object' && value !== null) {
      for (const property of Object.keys(value)) keys.add(property)
    }
    collect(value, keys)
  }
}
