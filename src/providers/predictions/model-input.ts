/**
 * What a model on Replicate or Cog is given, built from a step's `request` and the record's input.
 *
 * - I1 The same parts give the same bytes: nothing here looks at a clock, an attempt or a webhook.
 * - I2 Errors name the step and what was wrong with the form, never a value.
 */
import type { CallInput, RequestParts } from '../contract.js'

export type InputRules = {
  /** The model's field for the record's file; null: `image` for images, `file` for the rest; false: it is not sent. */
  inputField: string | false | null
  /** The model's field that gets the request key; null: none. */
  tokenField: string | null
}

export type ModelInput = { [field: string]: unknown }

/**
 * The rule:
 * 1. The step's `request` gives the fields: `{ input: { … } }`, or any other object, which is taken as the input itself.
 * 2. Without a `request`, a JSON input of the record gives them in the same way; any other input starts from none.
 * 3. An input that is no JSON goes in as a data URL under `inputField`, unless the fields already name that field.
 * 4. `tokenField` gets the request key.
 *
 * Throws TypeError for a request that is no object; rejects when the input can't be read.
 */
export async function buildModelInput(parts: RequestParts, rules: InputRules): Promise<ModelInput> {
  const { input: source, step } = parts
  const isJson = isJsonType(source.mediaType)
  const given = parts.request === undefined ? (isJson ? await source.json() : {}) : parts.request
  const what = parts.request === undefined ? 'The JSON input of' : 'What is built by the request of'
  const input = { ...fieldsOf(given, `${what} step "${step}"`) }
  if (!isJson && rules.inputField !== false) {
    const field = rules.inputField ?? (/^image\//i.test(source.mediaType) ? 'image' : 'file')
    if (!Object.hasOwn(input, field)) input[field] = await dataUrlOf(source)
  }
  if (rules.tokenField !== null) input[rules.tokenField] = parts.requestKey
  return input
}

function fieldsOf(given: unknown, what: string): ModelInput {
  if (!isObject(given)) {
    throw new TypeError(`${what} is no object: write { input: { … } } with the model's fields.`)
  }
  const { input, ...others } = given
  return isObject(input) && Object.keys(others).length === 0 ? input : given
}

const isObject = (value: unknown): value is ModelInput =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

const isJsonType = (mediaType: string): boolean => /^application\/([\w.-]+\+)?json\s*(;|$)/i.test(mediaType)

/** RFC 2397, with the bytes as they are. Parameters of the media type are left out: models look for the type alone. */
async function dataUrlOf(input: CallInput): Promise<string> {
  const bytes = await input.bytes()
  const type = (input.mediaType.split(';')[0] ?? '').trim().toLowerCase()
  return `data:${type};base64,${Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('base64')}`
}
