/**
 * Does the server answer, and does it know the model? For the health report; costs nothing.
 * Source: https://developers.openai.com/api/reference/resources/models
 */
import { z } from 'zod'
import { parseJsonBody, type HttpSession } from '../http-session.js'
import { read } from './calls.js'
import type { OpenAiSettings } from './openai-options.js'

const ModelList = z.object({ data: z.array(z.object({ id: z.string() })) })

export async function isReady(
  session: HttpSession,
  settings: OpenAiSettings,
  signal: AbortSignal,
): Promise<{ ready: boolean; detail: string }> {
  const { compatible, model } = settings
  // Only the list is spoken by all compatible servers.
  const path = `${session.basePath}/models${compatible ? '' : `/${encodeURIComponent(model)}`}`
  const reading = read(await session.exchange({ method: 'GET', path, signal }), settings)
  if (!reading.ok) {
    const { code, message } = reading.failure
    return { ready: false, detail: `${message} (${code})` }
  }
  if (!compatible) return { ready: true, detail: `The model ${model} is there.` }
  const list = ModelList.safeParse(parseJsonBody(reading.body))
  if (!list.success) return { ready: false, detail: 'The server answers, and its list of models can not be read.' }
  const known = list.data.data.some(({ id }) => id === model)
  // Some serve one model under any name, so this is told and not held against it.
  return {
    ready: true,
    detail: known ? `The model ${model} is there.` : `The server does not list the model ${model}.`,
  }
}
