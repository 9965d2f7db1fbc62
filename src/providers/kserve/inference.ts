/**
 * An inference request's bytes, and what its answer says. Pure.
 *
 * - I1 The same parts give the same bytes: fields are written in one order, whatever order they came in.
 * - I2 An answer under another id is another request's: it is refused, never taken for this one's result.
 *
 * Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
 */
import { z } from 'zod'
import { ParametersForm, readTensor, show, wrongWith, type Tensor, type TensorParameters } from './tensor.js'

/** What a step's `request` gives. A record whose input is JSON may be one, where the step has no `request`. */
export type KserveRequest = {
  readonly inputs: readonly Tensor[]
  readonly parameters?: TensorParameters
  /** The outputs that are wanted. Default: all that the model has. */
  readonly outputs?: readonly { readonly name: string; readonly parameters?: TensorParameters }[]
}

const RequestForm = z.strictObject({
  inputs: z.array(z.unknown()).min(1).max(1_000),
  parameters: ParametersForm.optional(),
  outputs: z
    .array(z.strictObject({ name: z.string().min(1), parameters: ParametersForm.optional() }))
    .max(1_000)
    .optional(),
})

/** I1. Throws TypeError naming what is wrong, without any value. */
export function writeRequest(id: string, given: unknown): string {
  const parsed = RequestForm.safeParse(given)
  if (!parsed.success) throw new TypeError(`The request is no inference request: ${wrongWith(parsed.error)}.`)
  const inputs = parsed.data.inputs.map((input, place) => readTensor(input, `Input ${place} ${nameOf(input)}`))
  const { parameters, outputs } = parsed.data
  return JSON.stringify({
    id,
    ...(parameters && { parameters }),
    inputs: inputs.map(({ name, shape, datatype, parameters, data }) => ({
      name,
      shape,
      datatype,
      ...(parameters && { parameters }),
      data,
    })),
    ...(outputs && { outputs }),
  })
}

const nameOf = (input: unknown): string =>
  typeof input === 'object' && input !== null && 'name' in input ? show(input.name) : ''

/** A step's output by default; also its schema, for `output` of the step. */
export const KserveAnswer = z.object({
  modelName: z.string(),
  /** Null where the server has no versions. */
  modelVersion: z.string().nullable(),
  outputs: z.array(
    z.object({
      name: z.string(),
      shape: z.array(z.number()),
      datatype: z.string(),
      /** Flat, row by row. */
      data: z.array(z.union([z.number(), z.string(), z.boolean()])),
      parameters: z.record(z.string(), z.unknown()),
    }),
  ),
  parameters: z.record(z.string(), z.unknown()),
})
export type KserveAnswer = z.infer<typeof KserveAnswer>

const anything = z.record(z.string(), z.unknown()).nullish()
const AnswerForm = z.object({
  model_name: z.string(),
  model_version: z.string().nullish(),
  id: z.string().nullish(),
  parameters: anything,
  outputs: z.array(
    z.object({ name: z.string(), shape: z.unknown(), datatype: z.unknown(), data: z.unknown(), parameters: anything }),
  ),
})

export type AnswerReading =
  { ok: true; answer: KserveAnswer; id: string | null } | { ok: false; code: string; message: string }

/** `id`: what was sent. */
export function readInference(json: unknown, id: string): AnswerReading {
  const parsed = AnswerForm.safeParse(json)
  if (!parsed.success)
    return { ok: false, code: 'no-inference', message: 'The answer is no inference response of the protocol.' }
  const { model_name, model_version, outputs, parameters } = parsed.data
  const answered = parsed.data.id ?? null
  if (answered !== null && answered !== id)
    return { ok: false, code: 'wrong-id', message: 'The answer belongs to another request: it has another id.' } // I2
  try {
    return {
      ok: true,
      id: answered,
      answer: {
        modelName: model_name,
        modelVersion: model_version ?? null,
        outputs: outputs.map((output, place) => readOutput(output, place)),
        parameters: parameters ?? {},
      },
    }
  } catch (error) {
    const message = error instanceof TypeError ? error.message : 'An output is no tensor.'
    return { ok: false, code: 'bad-tensor', message }
  }
}

/** Its parameters may hold more than a request's may: they are kept as they came. */
function readOutput(
  output: z.infer<typeof AnswerForm>['outputs'][number],
  place: number,
): KserveAnswer['outputs'][number] {
  const { name, shape, datatype, data, parameters } = output
  const tensor = readTensor({ name, shape, datatype, data }, `Output ${place}`)
  return { ...tensor, shape: [...tensor.shape], data: [...tensor.data], parameters: parameters ?? {} }
}
