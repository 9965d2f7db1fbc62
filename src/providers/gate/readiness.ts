/** Is each provider ready, by its own word? Asked slowly, by one process of many: whoever finds the last answer old. */
import type { ProviderStates } from '../../persistence/contract.js'
import type { Clock } from '../../worker/contract.js'
import type { Provider } from '../contract.js'

const READY_TIMEOUT_MS = 5_000
const DETAIL_LENGTH_MAX = 200
const NO_ANSWER = { ready: false, detail: `No answer within ${READY_TIMEOUT_MS / 1_000} s.` }

export type ReadinessDeps = {
  providers: ReadonlyMap<string, Pick<Provider, 'ready'>>
  states: Pick<ProviderStates, 'setReady'>
  clock: Clock
  /** When each was asked last, by any process. */
  readyAtMs: { [provider: string]: number }
  everyMs: number
}

export const askReadiness = async (deps: ReadinessDeps, signal: AbortSignal): Promise<void> => {
  const { clock, states, everyMs } = deps
  for (const [name, provider] of deps.providers) {
    if (signal.aborted) return
    if (!provider.ready || clock.now().getTime() - (deps.readyAtMs[name] ?? 0) < everyMs * 0.9) continue
    await states.setReady(name, await askOne(provider, clock, signal))
  }
}

const askOne = async (
  provider: Pick<Provider, 'ready'>,
  clock: Clock,
  signal: AbortSignal,
): Promise<{ ready: boolean; detail: string }> => {
  const ended = new AbortController()
  const end = () => ended.abort()
  signal.addEventListener('abort', end, { once: true })
  try {
    const asked = Promise.resolve(provider.ready?.(ended.signal))
    asked.catch(() => {})
    const answer = await Promise.race([asked, clock.sleep(READY_TIMEOUT_MS, ended.signal)])
    if (!answer) return NO_ANSWER
    return { ready: answer.ready === true, detail: String(answer.detail).slice(0, DETAIL_LENGTH_MAX) }
  } catch {
    return { ready: false, detail: 'It could not be asked.' }
  } finally {
    signal.removeEventListener('abort', end)
    ended.abort()
  }
}
