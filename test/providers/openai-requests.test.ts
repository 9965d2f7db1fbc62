/** What `openai` sends: the forms of inputs and conversations, the bounds of their cost, and readiness. */
import { describe, expect, test } from 'vitest'
import { aRequest, bytesInput, jsonInput } from './call-inputs.js'
import { callOnce, nameSchema, serveEach } from './openai-fixture.js'

const { provider, posts, server } = serveEach()

describe('what is sent', () => {
  test('an image, a PDF and JSON go as what they are, before the words', async () => {
    const gpt = provider({ instructions: 'You read scans.' })
    const png = bytesInput('image/png', Buffer.from('not really'))
    const pdf = bytesInput('application/pdf', Buffer.from('%PDF'))
    for (const input of [png, pdf, jsonInput({ a: 'ä' })])
      expect(await callOnce(gpt, { input })).toMatchObject({ answer: { kind: 'succeeded' } })
    const contents = posts().map(({ body }) => (JSON.parse(body) as { input: [{ content: unknown }] }).input[0].content)
    const words = { type: 'input_text', text: 'Who?' }
    expect(contents).toEqual([
      [{ type: 'input_image', image_url: 'data:image/png;base64,bm90IHJlYWxseQ==', detail: 'auto' }, words],
      [{ type: 'input_file', filename: 'input.pdf', file_data: 'data:application/pdf;base64,JVBERg==' }, words],
      [{ type: 'input_text', text: '{"a":"ä"}' }, words],
    ])
    // The file's own name stays here.
    expect(
      posts()
        .map(({ body }) => body)
        .join(),
    ).not.toContain('scan.png')
    const chat = provider({ api: 'chat' })
    for (const input of [png, pdf])
      expect(await callOnce(chat, { input })).toMatchObject({ answer: { kind: 'succeeded' } })
  })

  test('a conversation, and no attachment where none is wanted', async () => {
    const request = {
      messages: [
        { role: 'user', content: 'One.' },
        { role: 'assistant', content: 'Two.' },
        { role: 'user', content: 'Three?' },
      ],
      attach: false,
      maxOutputTokens: 100,
      temperature: 0,
    }
    for (const gpt of [provider(), provider({ api: 'chat' })])
      expect(await callOnce(gpt, { request })).toMatchObject({ answer: { kind: 'succeeded' } })
    expect(JSON.parse(posts()[0]!.body)).toMatchObject({
      input: [{ role: 'user' }, { role: 'assistant', content: [{ type: 'output_text', text: 'Two.' }] }, {}],
      max_output_tokens: 100,
      temperature: 0,
    })
    expect(JSON.parse(posts()[1]!.body)).toMatchObject({
      messages: [{ content: 'One.' }, { role: 'assistant', content: 'Two.' }, { content: 'Three?' }],
      max_completion_tokens: 100,
    })
    expect(
      posts()
        .map(({ body }) => body)
        .join(),
    ).not.toContain('hello')
  })

  test('built twice, the same bytes; and what the answer may cost at most', async () => {
    const gpt = provider({ maxOutputTokens: 1000 })
    const parts = aRequest({ request: { prompt: 'Who?' }, outputSchema: nameSchema })
    const [one, two] = [await gpt.build!(parts), await gpt.build!(parts)]
    expect(one).toEqual(two)
    // 1,000 tokens out are 0.008; the rest bounds what goes in.
    expect(one.spendMax?.currency).toBe('USD')
    expect(Number(one.spendMax?.amount)).toBeGreaterThan(0.008)
    expect(Number(one.spendMax?.amount)).toBeLessThan(0.01)
  })

  test('the text itself, where text is wanted', async () => {
    server().plan({ text: 'Dear colleague,' })
    const { answer } = await callOnce(provider({ output: 'text' }), { outputSchema: nameSchema })
    expect(answer).toMatchObject({ kind: 'succeeded', output: 'Dear colleague,' })
    expect(JSON.parse(posts()[0]!.body)).not.toHaveProperty('text')
  })

  test('ready: the model is there, is not there, the server is not there', async () => {
    const signal = AbortSignal.timeout(5000)
    expect(await provider().ready!(signal)).toMatchObject({ ready: true })
    expect(await provider({ model: 'gpt-none' }).ready!(signal)).toMatchObject({ ready: false })
    const gone = provider({}, { baseUrl: 'http://127.0.0.1:9/v1' })
    expect(await gone.ready!(signal)).toMatchObject({ ready: false })
  })
})
