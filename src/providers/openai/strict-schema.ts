/**
 * An output schema in the form that OpenAI's strict mode takes. Pure.
 *
 * Rules: https://developers.openai.com/api/docs/guides/structured-outputs#supported-schemas. In strict mode the model
 * can write nothing but the schema; every object lists all its properties as required and allows no others.
 *
 * - F1 What is left out (a text's length, a default) only widens the schema: the step's own schema checks every output.
 * - F2 A property that may be missing makes the schema unfit for strict mode, because requiring it would make the model
 *   invent a value. Write `nullable` where strict mode is wanted.
 */
export type JsonSchema = { [keyword: string]: unknown }

/** Null when the root is no object: OpenAI takes no others, and the model is told nothing. */
export function fitSchema(schema: JsonSchema): { schema: JsonSchema; strict: boolean } | null {
  if (schema['type'] !== 'object') return null
  const { $schema: _, ...rest } = schema
  const size = { properties: 0, enumValues: 0 }
  const strict = strictNode(schema, 0, size)
  if (strict === null || size.properties > PROPERTIES_MAX || size.enumValues > ENUM_VALUES_MAX)
    return { schema: rest, strict: false }
  return { schema: strict, strict: true }
}

const PROPERTIES_MAX = 5000
const ENUM_VALUES_MAX = 1000
const DEPTH_MAX = 10
type Size = { properties: number; enumValues: number }

/** Kept as they are. */
const COPIED = [
  'type',
  'title',
  'description',
  'enum',
  'const',
  'multipleOf',
  'exclusiveMinimum',
  'exclusiveMaximum',
  'minItems',
  'maxItems',
] as const
/** Leaving one of these out would change the meaning, and strict mode has no word for it. */
const UNFIT = [
  'allOf',
  'not',
  'if',
  'then',
  'else',
  'prefixItems',
  'patternProperties',
  'propertyNames',
  'dependentRequired',
  'dependentSchemas',
  'unevaluatedProperties',
] as const
const FORMATS: ReadonlySet<unknown> = new Set([
  'date-time',
  'time',
  'date',
  'duration',
  'email',
  'hostname',
  'ipv4',
  'ipv6',
  'uuid',
])

const isSchema = (value: unknown): value is JsonSchema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Null: it can't be said in strict mode. */
function strictNode(node: unknown, depth: number, size: Size): JsonSchema | null {
  if (!isSchema(node) || depth > DEPTH_MAX || UNFIT.some((keyword) => keyword in node)) return null
  // A reference stands alone.
  if (typeof node['$ref'] === 'string') return { $ref: node['$ref'], ...definitions(node, depth, size) }
  const fitted: JsonSchema = {}
  for (const keyword of COPIED) if (keyword in node) fitted[keyword] = node[keyword]
  size.enumValues += Array.isArray(node['enum']) ? node['enum'].length : 0
  copyBounds(node, fitted)

  const defs = definitions(node, depth, size)
  if (defs === null) return null
  Object.assign(fitted, defs)

  const choices = node['anyOf'] ?? node['oneOf']
  if (choices !== undefined) {
    const fit = Array.isArray(choices) ? choices.map((choice) => strictNode(choice, depth, size)) : [null]
    if (depth === 0 || fit.includes(null)) return null
    fitted['anyOf'] = fit
    return fitted
  }
  if ('items' in node) {
    const items = strictNode(node['items'], depth + 1, size)
    if (items === null) return null
    fitted['items'] = items
  }
  if (node['type'] === 'object') return strictObject(node, fitted, depth, size)
  // Anything at all: strict mode wants to know what.
  return 'type' in node || 'enum' in node || 'const' in node ? fitted : null
}

function strictObject(node: JsonSchema, fitted: JsonSchema, depth: number, size: Size): JsonSchema | null {
  const { properties, required, additionalProperties } = node
  // Without names of its own it is a map, and there is no way to say that.
  if (!isSchema(properties) || Object.keys(properties).length === 0) return null
  if (isSchema(additionalProperties) && Object.keys(additionalProperties).length > 0) return null
  const names = Object.keys(properties)
  const always: ReadonlySet<unknown> = new Set(Array.isArray(required) ? required : [])
  // F2
  if (!names.every((name) => always.has(name))) return null
  size.properties += names.length
  const fit: [string, JsonSchema][] = []
  for (const name of names) {
    const property = strictNode(properties[name], depth + 1, size)
    if (property === null) return null
    fit.push([name, property])
  }
  return { ...fitted, properties: Object.fromEntries(fit), required: names, additionalProperties: false }
}

function definitions(node: JsonSchema, depth: number, size: Size): JsonSchema | null {
  const defs = node['$defs']
  if (defs === undefined) return {}
  if (!isSchema(defs)) return null
  const fit: [string, JsonSchema][] = []
  for (const [name, definition] of Object.entries(defs)) {
    const fitted = strictNode(definition, depth + 1, size)
    if (fitted === null) return null
    fit.push([name, fitted])
  }
  return { $defs: Object.fromEntries(fit) }
}

/** F1: bounds and forms that strict mode knows; the safe integers' own bounds say nothing. */
function copyBounds(node: JsonSchema, fitted: JsonSchema): void {
  const { minimum, maximum, format, pattern } = node
  if (minimum !== undefined && minimum !== Number.MIN_SAFE_INTEGER) fitted['minimum'] = minimum
  if (maximum !== undefined && maximum !== Number.MAX_SAFE_INTEGER) fitted['maximum'] = maximum
  if (FORMATS.has(format)) fitted['format'] = format
  // Look-around is refused; a format says it already.
  else if (typeof pattern === 'string' && !pattern.includes('(?')) fitted['pattern'] = pattern
}
