/**
 * `openai`: models of OpenAI by the Responses or the Chat Completions API, and any server that speaks the latter (vLLM,
 * Ollama, llama.cpp, LM Studio).
 *
 * Owns the choice of mode; the rest is beside: options and what they mean for recovery (openai-options.ts), the request's
 * bytes (request-body.ts), the call (calls.ts), the look-up (lookups.ts), the webhook (webhook.ts).
 */
import type { Provider, ProviderDeps, ProviderFactory } from '../contract.js'
import { openSession, type HttpSession } from '../http-session.js'
import { callOpenAi } from './calls.js'
import { askCompletion, askResponse, pathOfResponse } from './lookups.js'
import { readOpenAiOptions, type OpenAiOptions, type OpenAiSettings } from './openai-options.js'
import { isReady } from './readiness.js'
import { buildRequest } from './request-body.js'
import { readOpenAiWebhook } from './webhook.js'

export type { OpenAiOptions } from './openai-options.js'

/** Throws TypeError when an option is not valid. Secrets are resolved in `create`, once per worker process. */
export function openai(options: OpenAiOptions): ProviderFactory {
  const settings = readOpenAiOptions(options)
  const { webhookSecret } = settings
  return {
    slots: settings.slots,
    terms: (name) => ({ name, ...settings.terms }),
    ...(settings.limits && { limits: settings.limits }),
    create: (name, deps) => createOpenAiProvider(name, settings, deps),
    ...(webhookSecret && { webhook: (name, deps) => readOpenAiWebhook(name, webhookSecret, deps) }),
  }
}

function createOpenAiProvider(name: string, settings: OpenAiSettings, deps: ProviderDeps): Provider {
  const session = openSession(name, settings, deps)
  const lookUp = settings.mode === 'chat' ? askCompletion : askResponse
  return {
    terms: { name, ...settings.terms },
    slots: settings.slots,
    build: (parts) => buildRequest(parts, settings),
    call: (request, signal) => callOpenAi(session, settings, request, signal),
    ...(settings.store && { ask: (question, signal) => lookUp(session, settings, question, signal) }),
    ...(settings.mode === 'job' && {
      cancel: ({ handle }, signal) => (handle === null ? Promise.resolve() : cancel(session, handle, signal)),
    }),
    ready: (signal) => isReady(session, settings, signal),
    close() {
      session.close()
      return Promise.resolve()
    },
  }
}

/** Only background responses can be cancelled; twice is harmless. What it answers is asked for later. */
async function cancel(session: HttpSession, handle: string, signal: AbortSignal): Promise<void> {
  await session.exchange({ method: 'POST', path: `${pathOfResponse(session, handle)}/cancel`, signal })
}
