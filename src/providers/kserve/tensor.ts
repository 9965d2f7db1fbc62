/**
 * Tensors of the Open Inference Protocol, in and out: data laid out flat, row by row, that fits its shape and datatype.
 *
 * - T1 What JSON can't carry exactly is refused, both ways: NaN and infinities (JSON.stringify would make null of them)
 *   and whole numbers beyond 2^53 (JSON.parse would round them). A result that was rounded is no result.
 * - T2 Errors name the tensor, the place and what was expected; never a value, which may be a patient's.
 *
 * Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
 * and, for datatypes and layout, https://github.com/kserve/kserve/blob/master/docs/predict-api/v2/required_api.md
 */
import { z } from 'zod'

/** Smallest and largest whole number by datatype; null for those that hold something else. T1 narrows the 64-bit ones. */
const DATATYPES = {
  BOOL: null,
  UINT8: [0, 255],
  UINT16: [0, 65_535],
  UINT32: [0, 4_294_967_295],
  UINT64: [0, Number.MAX_SAFE_INTEGER],
  INT8: [-128, 127],
  INT16: [-32_768, 32_767],
  INT32: [-2_147_483_648, 2_147_483_647],
  INT64: [Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER],
  FP16: null,
  FP32: null,
  FP64: null,
  BYTES: null,
} as const satisfies { [datatype: string]: readonly [number, number] | null }

export type TensorDatatype = keyof typeof DATATYPES

/** Of one value. BYTES are texts here: the protocol's JSON form has no other. */
export type TensorValue<D extends TensorDatatype = TensorDatatype> = D extends 'BOOL'
  ? boolean
  : D extends 'BYTES'
    ? string
    : number

export type TensorParameters = { readonly [name: string]: string | number | boolean }

/** What goes into a model. Made by `tensor`, or written by hand: it is checked again before it is sent. */
export type Tensor<D extends TensorDatatype = TensorDatatype> = {
  readonly name: string
  readonly shape: readonly number[]
  readonly datatype: D
  /** Flat, row by row. */
  readonly data: readonly TensorValue<D>[]
  readonly parameters?: TensorParameters
}

const DIMENSIONS_MAX = 32
const name = z.string().min(1).max(1_000)
const shape = z.array(z.int().min(0)).max(DIMENSIONS_MAX)
const datatype = z.enum(Object.keys(DATATYPES) as [TensorDatatype, ...TensorDatatype[]])
const parameters = z.record(z.string(), z.union([z.string(), z.number(), z.boolean()]))

/** The form of a tensor, for objects written by hand. What is in `data` is checked by `checkTensor`. */
export const TensorForm = z.strictObject({
  name,
  shape,
  datatype,
  data: z.array(z.unknown()),
  parameters: parameters.optional(),
})
export const ParametersForm = parameters

/**
 * A tensor: `tensor('pixels', 'FP32', [1, 28, 28], pixels)`. `data` may be any list, a Float32Array too, laid out row by
 * row. Throws TypeError when the datatype is none of the protocol's, the length does not fit the shape, or a value is
 * not of the datatype.
 */
export function tensor<D extends TensorDatatype>(
  name: string,
  datatype: D,
  shape: readonly number[],
  data: ArrayLike<TensorValue<D>>,
  parameters?: TensorParameters,
): Tensor<D> {
  const form = { name, shape: [...shape], datatype, data: Array.from(data), ...(parameters && { parameters }) }
  return readTensor(form, `Tensor ${show(name)}`) as Tensor<D>
}

/** `what` begins the error. Nested lists, which the protocol allows too, come out flat. Throws TypeError. */
export function readTensor(given: unknown, what: string): Tensor {
  const parsed = TensorForm.safeParse(given)
  if (!parsed.success) throw new TypeError(`${what} is no tensor: ${wrongWith(parsed.error)}.`)
  const { parameters, data, ...rest } = parsed.data
  const flat = flatten(data, rest.shape.length)
  const trouble = checkValues(rest.datatype, rest.shape, flat)
  if (trouble !== null) throw new TypeError(`${what} ${trouble}.`)
  return { ...rest, data: flat as TensorValue[], ...(parameters && { parameters }) }
}

/** As deep as the shape says, no deeper. */
function flatten(data: unknown[], dimensions: number): unknown[] {
  let flat = data
  for (let depth = 1; depth < dimensions && flat.some(Array.isArray); depth++) flat = flat.flat()
  return flat
}

/** Null when the values fit; otherwise what is wrong, without any of them (T2). */
function checkValues(datatype: TensorDatatype, shape: readonly number[], data: readonly unknown[]): string | null {
  const needed = shape.reduce((product, dimension) => product * dimension, 1)
  if (data.length !== needed) return `has ${data.length} values, and its shape [${shape.join(', ')}] needs ${needed}`
  const fits = CHECKS[datatype]
  const wrong = data.findIndex((value) => !fits(value))
  return wrong === -1 ? null : `has a value that is no ${datatype}, at place ${wrong}${REASON[datatype] ?? ''}`
}

const isNumber = (value: unknown): boolean => typeof value === 'number' && Number.isFinite(value)

const CHECKS = Object.fromEntries(
  Object.entries(DATATYPES).map(([datatype, range]) => [
    datatype,
    range === null
      ? isNumber
      : (value: unknown) => Number.isInteger(value) && Number(value) >= range[0] && Number(value) <= range[1],
  ]),
) as { [D in TensorDatatype]: (value: unknown) => boolean }
CHECKS.BOOL = (value) => typeof value === 'boolean'
CHECKS.BYTES = (value) => typeof value === 'string'

const REASON: { [D in TensorDatatype]?: string } = {
  INT64: ' (whole numbers beyond 2^53 are not exact in JSON)',
  UINT64: ' (whole numbers beyond 2^53 are not exact in JSON)',
  FP16: ' (NaN and infinities are not JSON)',
  FP32: ' (NaN and infinities are not JSON)',
  FP64: ' (NaN and infinities are not JSON)',
}

/** Where and what, never the value. */
export const wrongWith = (error: z.ZodError): string =>
  error.issues
    .slice(0, 3)
    .map((issue) => `${issue.path.map(String).join('.') || 'it'}: ${issue.message}`)
    .join('; ')

export const show = (name: unknown): string => (typeof name === 'string' ? JSON.stringify(name.slice(0, 60)) : '?')
