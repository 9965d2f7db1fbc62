/** `kserve` against the suite that every adapter passes. */
import { describe, it } from 'vitest'
import { kserve } from '../../src/providers/kserve/kserve.js'
import { tensor } from '../../src/providers/kserve/tensor.js'
import { conformanceOf, type Protocol, type ProviderSubject } from '../../src/testing/testing.js'

const found = 'Haemoglobin 8.4 g/dl'

/** https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md */
const inferenceServer = (): Protocol => (request) => {
  if (request.method === 'GET') return { status: 200, json: { name: 'reader', platform: 'own' } }
  if (request.path !== '/v2/models/reader/infer') return { status: 404, json: { error: 'unknown model' } }
  const { id } = JSON.parse(request.body.toString('utf8')) as { id: string }
  const output = { name: 'found', shape: [1], datatype: 'BYTES', data: [found] }
  return { status: 200, json: { model_name: 'reader', model_version: '1', id, outputs: [output] } }
}

const subject: ProviderSubject = {
  name: 'kserve',
  create: (baseUrl) => kserve({ url: baseUrl, model: 'reader' }),
  protocol: inferenceServer,
  request: { request: { inputs: [tensor('text', 'BYTES', [1], ['Haemoglobin?'])] } },
  output: {
    modelName: 'reader',
    modelVersion: '1',
    outputs: [{ name: 'found', shape: [1], datatype: 'BYTES', data: [found], parameters: {} }],
    parameters: {},
  },
  content: ['Haemoglobin'],
}

describe('kserve', () => {
  for (const check of conformanceOf(subject)) it(check.name, check.run)
})
