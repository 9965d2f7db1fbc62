/** A provider whose answers the test gives, one call at a time, or as a rule. */
import type { ProviderTerms } from '../../src/machines/pipeline.js'
import type { AskAnswer, CallAnswer, CallRequest, Provider, Question } from '../../src/providers/contract.js'

export type HandCall = {
  request: CallRequest
  signal: AbortSignal
  answer(answer: CallAnswer): void
}

export type HandAsk = { question: Question; answer(answer: AskAnswer): void }

export type HandProvider = Provider & {
  calls: HandCall[]
  asks: HandAsk[]
  cancelled: Question[]
  /** Answers each later call at once. */
  always(answer: (request: CallRequest) => CallAnswer | Promise<CallAnswer>): void
  closed(): boolean
}

export const answers = (output: unknown): CallAnswer => ({ kind: 'succeeded', output, spend: null, evidence: null })

export const refuses = (code = 'at-capacity'): CallAnswer => ({
  kind: 'not-executed',
  code,
  message: 'At capacity.',
  retryable: true,
})

export const createHandProvider = (terms: ProviderTerms, slots = 2): HandProvider => {
  const calls: HandCall[] = []
  const asks: HandAsk[] = []
  const cancelled: Question[] = []
  let rule: ((request: CallRequest) => CallAnswer | Promise<CallAnswer>) | null = null
  let closed = false
  return {
    terms,
    slots,
    calls,
    asks,
    cancelled,
    ask: (question) => new Promise((answer) => void asks.push({ question, answer })),
    cancel: async (question) => void cancelled.push(question),
    async call(request, signal) {
      let answer = (_given: CallAnswer) => {}
      const answered = new Promise<CallAnswer>((resolve) => (answer = resolve))
      calls.push({ request, signal, answer })
      signal.addEventListener('abort', () => answer({ kind: 'unknown', code: 'no-answer', message: 'It was ended.' }))
      return rule === null ? answered : rule(request)
    },
    always(answer) {
      rule = answer
    },
    async close() {
      closed = true
    },
    closed: () => closed,
  }
}
