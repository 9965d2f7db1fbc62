/** A step that is only a function: what its end means. Votes and choices on it are lived in test/machines/forms.test.ts. */
import { describe, expect, it } from 'vitest'
import { compute, computeProvider, StepRefused } from '../../src/providers/built-in.js'
import type { CallRequest } from '../../src/providers/contract.js'

const request = {
  pipeline: 'claim',
  step: 'check',
  request: 2,
  outputs: { read: 3 },
  input: {},
} as unknown as CallRequest
const answerOf = (run: Parameters<typeof compute>[0]['run']) =>
  compute({ run })
    .create('c', { secret: () => '' })
    .call(request, new AbortController().signal)

describe('a function', () => {
  it('is given request and outputs, and may take its time', async () => {
    expect(await answerOf(async (facts) => [facts.request, facts.outputs])).toMatchObject({
      kind: 'succeeded',
      output: [2, { read: 3 }],
    })
  })

  it('that refuses is a certain failure in its own words', async () => {
    const refuse = () => {
      throw new StepRefused('too-old', 'Field 3 is too old.', { field: 3 })
    }
    expect(await answerOf(refuse)).toEqual({
      kind: 'executed',
      retryable: false,
      spend: null,
      code: 'too-old',
      message: 'Field 3 is too old.',
      evidence: { field: 3 },
    })
  })

  it.each([
    ['an error', new TypeError('patient Smith'), 'TypeError'],
    ['anything', 'patient Smith', 'something that is no Error'],
  ])('that throws %s is not tried again, and what it threw is not told', async (_, thrown, what) => {
    const answer = await answerOf(() => {
      throw thrown
    })
    expect(answer).toMatchObject({ kind: 'executed', code: 'function-threw', retryable: false })
    expect(answer).toMatchObject({ message: `The step's function threw ${what}.` })
  })

  it('that this process does not have was not run', async () => {
    const provider = computeProvider(() => undefined).create('c', { secret: () => '' })
    expect(await provider.call(request, new AbortController().signal)).toMatchObject({
      kind: 'not-executed',
      retryable: true,
    })
  })
})
