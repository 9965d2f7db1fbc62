/** `kserve` in a config, as docs/providers.md shows it; a test compares these lines with the page. */
import type { KserveRequest } from '../../src/providers/kserve/inference.js'
import { kserve } from '../../src/providers/kserve/kserve.js'
import { tensor } from '../../src/providers/kserve/tensor.js'

export const risk = kserve({
  url: 'http://models.clinic.example:8000',
  model: 'breast-cancer',
  version: '1',
  output: ({ outputs }) => ({ malignant: outputs[0]?.data[0] === 0 }),
})

export const request = (measured: number[]): KserveRequest => ({
  inputs: [tensor('measured', 'FP64', [1, measured.length], measured)],
})
