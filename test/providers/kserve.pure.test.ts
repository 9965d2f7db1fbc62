/** Tensors, a request's bytes and the reading of an answer. Numbers name the invariants of the files in src/providers/kserve. */
import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { KserveAnswer, readInference, writeRequest, type KserveRequest } from '../../src/providers/kserve/inference.js'
import { kserve, type KserveOptions } from '../../src/providers/kserve/kserve.js'
import { tensor, type TensorDatatype } from '../../src/providers/kserve/tensor.js'
import { request, risk } from './kserve-shown.js'

describe('a tensor', () => {
  test('takes any list that fits its shape', () => {
    expect(tensor('pixels', 'FP32', [2, 2], new Float32Array([1, 2, 3, 0.5]))).toEqual({
      name: 'pixels',
      datatype: 'FP32',
      shape: [2, 2],
      data: [1, 2, 3, 0.5],
    })
    expect(tensor('text', 'BYTES', [1], ['hello'], { content_type: 'str' }).parameters).toEqual({ content_type: 'str' })
    expect(tensor('none', 'INT8', [0, 30], []).data).toEqual([])
    expect(tensor('one', 'BOOL', [], [true]).data).toEqual([true])
  })

  const wrong: [string, TensorDatatype, number[], unknown[], RegExp][] = [
    ['too few values', 'FP64', [1, 4], [1, 2, 3], /"x" has 3 values, and its shape \[1, 4\] needs 4/],
    ['too many values', 'FP64', [2], [1, 2, 3], /has 3 values, and its shape \[2\] needs 2/],
    ['a datatype of another world', 'FLOAT' as TensorDatatype, [1], [1], /datatype: .*"UINT8"/],
    ['a shape with a hole', 'FP32', [-1, 2], [1, 2], /shape\.0/],
    ['a shape that is no whole number', 'FP32', [1.5], [1], /shape\.0/],
    ['a text among numbers', 'FP32', [2], [1, 'Mary Smith'], /no FP32, at place 1/],
    ['a number among texts', 'BYTES', [1], [1], /no BYTES, at place 0/],
    ['a number for a truth value', 'BOOL', [1], [1], /no BOOL, at place 0/],
    ['a fraction as a whole number', 'INT32', [1], [0.5], /no INT32, at place 0/],
    ['a number too large for its type', 'UINT8', [2], [255, 256], /no UINT8, at place 1/],
    ['a number too small for its type', 'UINT16', [1], [-1], /no UINT16, at place 0/],
    ['T1: NaN, which JSON would turn into null', 'FP64', [1], [Number.NaN], /no FP64, at place 0 \(NaN/],
    ['T1: infinity', 'FP16', [1], [Infinity], /no FP16, at place 0/],
    ['T1: a whole number that JSON would round', 'INT64', [1], [2 ** 53], /no INT64, at place 0 \(whole numbers/],
    ['T1: a bigint', 'UINT64', [1], [5n], /no UINT64, at place 0/],
    ['no name', 'FP32', [1], [1], /name/],
  ]
  test.each(wrong)('is refused for %s', (what, datatype, shape, data, message) => {
    const make = () => tensor(what === 'no name' ? '' : 'x', datatype, shape, data as never)
    expect(make).toThrow(TypeError)
    expect(make).toThrow(message)
    // T2
    expect(make).not.toThrow(/Mary/)
  })
})

const x = tensor('x', 'FP64', [1, 2], [1, 2])

describe('a request', () => {
  test('I1: is written in one order, whatever order its fields came in', () => {
    const one: KserveRequest = { parameters: { a: 1 }, outputs: [{ name: 'y' }], inputs: [x] }
    const { data, datatype, name, shape } = x
    const other: KserveRequest = {
      inputs: [{ data, shape, name, datatype }],
      outputs: [{ name: 'y' }],
      parameters: { a: 1 },
    }
    const text = writeRequest('rec-1.read.risk.1', one)
    expect(writeRequest('rec-1.read.risk.1', other)).toBe(text)
    expect(JSON.parse(text)).toEqual({
      id: 'rec-1.read.risk.1',
      parameters: { a: 1 },
      inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP64', data: [1, 2] }],
      outputs: [{ name: 'y' }],
    })
  })

  test('may be written by hand with nested rows, and is checked all the same', () => {
    const hand = (data: unknown) => ({ inputs: [{ name: 'x', shape: [2, 2], datatype: 'INT8', data }] })
    expect(JSON.parse(writeRequest('k', hand([[1, 2], [3, 4]])))).toMatchObject({ inputs: [{ data: [1, 2, 3, 4] }] }) // prettier-ignore
    expect(() => writeRequest('k', hand([1, 2, 3]))).toThrow(/Input 0 "x" has 3 values/)
    expect(() => writeRequest('k', hand([[1, 2], [3, [4]]]))).toThrow(/no INT8, at place 3/) // prettier-ignore
  })

  test.each([
    ['nothing', undefined],
    ['no inputs', { inputs: [] }],
    ['a misspelt field', { inputs: [x], output: [{ name: 'y' }] }],
    ['a parameter that is no plain value', { inputs: [x], parameters: { a: { b: 1 } } }],
  ])('is refused for %s', (_, request) => {
    expect(() => writeRequest('k', request)).toThrow(/^The request is no inference request/)
  })

  test('survives the wire as it is: what is read back is what went in', () => {
    const values = fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }), { minLength: 1, maxLength: 20 })
    fc.assert(
      fc.property(values, (data) => {
        const sent = JSON.parse(writeRequest('k', { inputs: [tensor('x', 'FP64', [data.length], data)] })) as {
          inputs: unknown[]
        }
        const reading = readInference({ model_name: 'm', id: 'k', outputs: sent.inputs }, 'k')
        // JSON knows one zero.
        expect(reading.ok && reading.answer.outputs[0]!.data).toEqual(data.map((value) => value + 0))
      }),
    )
  })
})

const y = { name: 'y', shape: [1], datatype: 'INT64', data: [1] }

describe('an answer', () => {
  test('is read whole, and fits the schema that a step may use', () => {
    const json = {
      model_name: 'risk',
      model_version: '2',
      id: 'k',
      parameters: { a: { b: 1 } },
      outputs: [{ ...y, parameters: { content_type: 'np' } }],
    }
    const reading = readInference(json, 'k')
    const answer = {
      modelName: 'risk',
      modelVersion: '2',
      outputs: [{ ...y, parameters: { content_type: 'np' } }],
      parameters: { a: { b: 1 } },
    }
    expect(reading).toEqual({ ok: true, id: 'k', answer })
    expect(KserveAnswer.parse(answer)).toEqual(answer)
    expect(() => z.toJSONSchema(KserveAnswer)).not.toThrow()
  })

  test('needs neither version, id nor parameters', () => {
    expect(readInference({ model_name: 'risk', outputs: [y] }, 'k')).toMatchObject({
      ok: true,
      id: null,
      answer: { modelVersion: null, parameters: {}, outputs: [{ parameters: {} }] },
    })
  })

  test.each([
    ['something else', { hello: 1 }, 'no-inference'],
    ['an error', { error: 'no' }, 'no-inference'],
    ['I2: the answer to another request', { model_name: 'risk', id: 'other', outputs: [y] }, 'wrong-id'],
    ['an output that does not fill its shape', { model_name: 'risk', outputs: [{ ...y, shape: [2] }] }, 'bad-tensor'],
    ['T1: null for NaN', { model_name: 'risk', outputs: [{ ...y, datatype: 'FP64', data: [null] }] }, 'bad-tensor'],
    ['T1: a number that was rounded', { model_name: 'risk', outputs: [{ ...y, data: [2 ** 60] }] }, 'bad-tensor'],
    ['an unknown datatype', { model_name: 'risk', outputs: [{ ...y, datatype: 'FP8' }] }, 'bad-tensor'],
  ])('that is %s is none', (_, json, code) => {
    expect(readInference(json, 'k')).toMatchObject({ ok: false, code })
  })
})

describe('the options', () => {
  const made = (more: Partial<KserveOptions> = {}) => kserve({ url: 'http://localhost:8000', model: 'risk', ...more })

  test('give terms that are blind and free', () => {
    expect(made().terms('risk')).toEqual({
      name: 'risk',
      recovery: 'blind',
      cost: 'free',
      longestRunMs: 300_000,
      keyTtlMs: 0,
      lookupLagMs: 0,
      findsByToken: false,
      spendMax: null,
      model: 'risk',
    })
    const spendMax = { amount: '0.02', currency: 'EUR' }
    expect(made({ cost: 'paid', spendMax }).terms('risk')).toMatchObject({ cost: 'paid', spendMax })
  })

  test.each<[string, Partial<KserveOptions>, RegExp]>([
    ['an address that is none', { url: 'localhost:8000/' }, /absolute url/],
    ['a password in the address', { url: 'http://u:p@localhost' }, /user or password/],
    ['an empty model', { model: '' }, /model/],
    ['a price of what is free', { spendMax: { amount: '1', currency: 'EUR' } }, /write cost: 'paid'/],
    ['a status that is no refusal', { rejects: [500] }, /rejects\.0/],
    ['a misspelt option', { modelName: 'x' } as Partial<KserveOptions>, /modelName/],
    ['a duration that is none', { longestRun: 'soon' as never }, /longestRun is "soon"/],
  ])('name %s', (_, more, message) => {
    expect(() => made(more)).toThrow(TypeError)
    expect(() => made(more)).toThrow(message)
  })
})

test('docs/providers.md shows what is tested', () => {
  const page = readFileSync(new URL('../../docs/providers.md', import.meta.url), 'utf8')
  const shown = readFileSync(new URL('kserve-shown.ts', import.meta.url), 'utf8')
  const code = shown.slice(shown.indexOf('export const risk')).replaceAll('export const', 'const')
  expect(page).toContain(`import { kserve, tensor, type KserveRequest } from 'endstate'\n\n${code}\`\`\``)
  expect(risk.terms('risk')).toMatchObject({ recovery: 'blind', cost: 'free' })
  expect(JSON.parse(writeRequest('k', request([1, 2])))).toMatchObject({ inputs: [{ shape: [1, 2], data: [1, 2] }] })
})
