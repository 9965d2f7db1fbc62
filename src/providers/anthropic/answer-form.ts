/**
 * How a model is told the form of its answer: the step's output schema, as a tool's input or as a structured output.
 *
 * Sources: https://platform.claude.com/docs/en/agents-and-tools/tool-use/define-tools,
 * https://platform.claude.com/docs/en/build-with-claude/structured-outputs (JSON Schema limitations)
 *
 * - F1 What is sent never allows an answer that the step's schema could not mean: limits that the API does not know go
 *   into the description, and the answer is checked against the whole schema afterwards.
 * - F2 What can't be told without shutting out good answers (a dictionary, a tuple, "anything") is refused by name.
 */
import type { RequestParts } from '../contract.js'
import type { AnthropicSettings } from './anthropic-options.js'

export const ANSWER_TOOL = 'answer'
/** Where an output schema is no plain object, an object holds the output under this name. */
export const WRAPPED = 'answer'

type JsonSchema = { [keyword: string]: unknown }
type Fields = { [field: string]: unknown }

/** The fields of the body that say how to answer. Throws TypeError for a schema that can't be told (F2). */
export function formOf(
  { output, extra }: Pick<AnthropicSettings, 'output' | 'extra'>,
  { outputSchema, step }: Pick<RequestParts, 'outputSchema' | 'step'>,
): Fields {
  const whole = isWrapped(outputSchema) ? wrap(outputSchema) : outputSchema
  if (output === 'tool') {
    const description = 'Takes the answer. Call it once, with the whole answer.'
    return {
      tools: [{ name: ANSWER_TOOL, description, input_schema: whole }],
      tool_choice: { type: 'tool', name: ANSWER_TOOL, disable_parallel_tool_use: true },
    }
  }
  if (output === 'schema') {
    const given = extra['output_config']
    const schema = strictSchema(whole, step)
    return { output_config: { ...(typeof given === 'object' && given), format: { type: 'json_schema', schema } } }
  }
  return {}
}

/** Both forms need an object at the top that is not a choice between several. */
export const isWrapped = (schema: JsonSchema): boolean =>
  schema['type'] !== 'object' || 'oneOf' in schema || 'anyOf' in schema || 'allOf' in schema

/** `$defs` stay at the top, because references to them begin there. */
function wrap(outputSchema: JsonSchema): JsonSchema {
  const { $schema, $defs, ...schema } = outputSchema
  return {
    ...($schema !== undefined && { $schema }),
    type: 'object',
    properties: { [WRAPPED]: schema },
    required: [WRAPPED],
    additionalProperties: false,
    ...($defs !== undefined && { $defs }),
  }
}

const FORMATS: ReadonlySet<unknown> = new Set(
  'date-time time date duration email hostname uri ipv4 ipv6 uuid'.split(' '),
)
/** They say nothing about the answer, or are taken along below. */
const STRUCTURE: ReadonlySet<string> = new Set(
  '$schema $id $defs $ref $comment type enum const title description properties required additionalProperties items anyOf oneOf allOf format minItems propertyNames'.split(
    ' ',
  ),
)

const isObject = (value: unknown): value is JsonSchema =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

function strictSchema(schema: JsonSchema, step: string): JsonSchema {
  const refuse = (what: string): never => {
    throw new TypeError(
      `The output schema of step "${step}" holds ${what}, which structured outputs can't tell the model. Write it in another form, or use output: "json".`,
    )
  }
  const strictEach = (schemas: unknown): unknown =>
    isObject(schemas)
      ? Object.fromEntries(Object.entries(schemas).map(([name, one]) => [name, strict(one)]))
      : Array.isArray(schemas)
        ? schemas.map(strict)
        : refuse('a list of schemas that is none')

  function strict(given: unknown): JsonSchema {
    if (!isObject(given)) return refuse('a schema that is true or false')
    const { $defs, $ref, type, anyOf, oneOf, allOf } = given
    const defs = $defs === undefined ? {} : { $defs: strictEach($defs) }
    if ($ref !== undefined) return { ...defs, $ref }
    const choice = anyOf ?? oneOf
    if ('prefixItems' in given) return refuse('a tuple')
    if (type === undefined && choice === undefined && allOf === undefined && !('enum' in given) && !('const' in given))
      return refuse('a value of any type')
    return {
      ...defs,
      ...pick(given, 'type', 'enum', 'const', 'title'),
      ...(choice !== undefined && { anyOf: strictEach(choice) }),
      ...(allOf !== undefined && { allOf: strictEach(allOf) }),
      ...describe(given),
      ...(type === 'object' && objectOf(given)),
      ...(type === 'array' && arrayOf(given)),
      ...(FORMATS.has(given['format']) && { format: given['format'] }),
    }
  }

  function objectOf({ properties = {}, required, additionalProperties }: JsonSchema): JsonSchema {
    if (isObject(properties) && Object.keys(properties).length === 0 && additionalProperties !== false)
      return refuse('a dictionary')
    return {
      properties: strictEach(properties),
      ...(required !== undefined && { required }),
      additionalProperties: false,
    }
  }

  function arrayOf({ items, minItems }: JsonSchema): JsonSchema {
    if (items === undefined) return refuse('a list of anything')
    return { items: strict(items), ...((minItems === 0 || minItems === 1) && { minItems }) }
  }

  return strict(schema)
}

const pick = (schema: JsonSchema, ...keywords: string[]): JsonSchema =>
  Object.fromEntries(keywords.filter((keyword) => keyword in schema).map((keyword) => [keyword, schema[keyword]]))

/** F1. That a whole number fits a JavaScript number is no news to a model. */
function describe(schema: JsonSchema): JsonSchema {
  const limits = Object.entries(schema).filter(
    ([keyword, value]) =>
      (!STRUCTURE.has(keyword) && Math.abs(Number(value)) !== Number.MAX_SAFE_INTEGER) ||
      (keyword === 'format' && !FORMATS.has(value)) ||
      (keyword === 'minItems' && value !== 0 && value !== 1),
  )
  const told = limits.map(([keyword, value]) => `${keyword}: ${JSON.stringify(value)}`).join(', ')
  const { description } = schema
  const texts = [typeof description === 'string' ? description : '', told === '' ? '' : `{${told}}`]
  const text = texts.filter((part) => part !== '').join('\n\n')
  return text === '' ? {} : { description: text }
}
