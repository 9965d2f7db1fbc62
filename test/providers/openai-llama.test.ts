/** A real OpenAI-compatible server: llama.cpp with a small model. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { INSTALL_MS_MAX, startLlama, type ModelServer } from '../support/model-servers.js'

let llama: ModelServer
beforeAll(async () => {
  llama = await startLlama()
}, INSTALL_MS_MAX)
afterAll(() => llama.stop())

const post = (body: object): Promise<Response> =>
  fetch(`${llama.url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: 'smollm2', messages: [{ role: 'user', content: 'Say hello.' }], ...body }),
    signal: AbortSignal.timeout(20_000),
  })

describe('the server itself', () => {
  test('answers a chat completion whole', async () => {
    const response = await post({ max_tokens: 8, temperature: 0 })
    const Completion = z.object({
      choices: z.tuple([
        z.object({ finish_reason: z.enum(['stop', 'length']), message: z.object({ content: z.string().min(1) }) }),
      ]),
      usage: z.object({ prompt_tokens: z.number().min(1), completion_tokens: z.literal(8) }),
    })
    expect(response.status).toBe(200)
    expect(Completion.parse(await response.json()).choices[0].finish_reason).toBe('length')
  })

  test('streams one, with its usage before the end', async () => {
    const response = await post({ max_tokens: 4, stream: true, stream_options: { include_usage: true } })
    const lines = (await response.text()).split('\n').filter((line) => line.startsWith('data: '))
    expect(lines.at(-1)).toBe('data: [DONE]')
    const last = z
      .object({ usage: z.object({ completion_tokens: z.number() }) })
      .parse(JSON.parse(lines.at(-2)!.slice('data: '.length)))
    expect(last.usage.completion_tokens).toBe(4)
  })
})
