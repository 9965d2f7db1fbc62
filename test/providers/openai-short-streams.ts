/** Streams with no more in them than the protocol needs, and with characters of two, three and four bytes. */
export const SHORT_OUTPUT = { a: 'ü患🩺' }
const TEXT = JSON.stringify(SHORT_OUTPUT)

const event = (fields: object): string => `data: ${JSON.stringify(fields)}\n\n`
const response = (status: string, output: object[]) => ({ id: 'resp_7', status, output })

export const SHORT_RESPONSE_STREAM = [
  event({ type: 'response.created', response: response('in_progress', []) }),
  event({ type: 'response.output_text.delta', delta: TEXT }),
  event({
    type: 'response.completed',
    response: response('completed', [{ type: 'message', content: [{ type: 'output_text', text: TEXT }] }]),
  }),
].join('')

const choice = (delta: object, finish_reason: string | null = null) => ({
  choices: [{ index: 0, delta, finish_reason }],
})

export const SHORT_COMPLETION_STREAM = [
  event(choice({ content: TEXT.slice(0, 7) })),
  event(choice({ content: TEXT.slice(7) })),
  event(choice({}, 'stop')),
  event({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 5 } }),
  'data: [DONE]\n\n',
].join('')
