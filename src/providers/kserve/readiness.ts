/**
 * Is the server ready, and the model? Two questions that start nothing; a model that is not ready is told apart from one
 * that the server does not have by a third, its metadata, which is kept while the model stays ready.
 *
 * Source: https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_rest.md
 */
import { z } from 'zod'
import { NO_STATUS_RULES, parseJsonBody, readOutcome, type HttpSession, type Reading } from '../http-session.js'

const READY_MS_MAX = 5_000
const DETAIL_CHARS_MAX = 300

const MetadataTensor = z.object({ name: z.string(), datatype: z.string(), shape: z.array(z.number()) })
const Metadata = z.object({
  name: z.string(),
  versions: z.array(z.string()).nullish(),
  platform: z.string().nullish(),
  inputs: z.array(MetadataTensor).nullish(),
  outputs: z.array(MetadataTensor).nullish(),
})
type Metadata = z.infer<typeof Metadata>

/** Some servers say it in the body only. */
const NotReady = z.object({ ready: z.literal(false) })

export type Readiness = { ready: boolean; detail: string }

/** `modelPath`: the model's own, with the version where one is asked for. */
export type ReadinessPaths = { server: string; model: string; anyVersion: string }

/** Throws nothing. */
export function createReadiness(session: HttpSession, paths: ReadinessPaths): (s: AbortSignal) => Promise<Readiness> {
  let known: string | null = null

  const get = async (path: string, signal: AbortSignal): Promise<Reading> =>
    readOutcome(await session.exchange({ method: 'GET', path, signal }), {
      statuses: NO_STATUS_RULES,
      cutIsUnknown: false,
    })

  const metadata = async (path: string, signal: AbortSignal): Promise<Metadata | null> => {
    const reading = await get(path, signal)
    const parsed = reading.ok ? Metadata.safeParse(parseJsonBody(reading.body)) : null
    return parsed?.success === true ? parsed.data : null
  }

  return async (given) => {
    const signal = AbortSignal.any([given, AbortSignal.timeout(READY_MS_MAX)])
    const server = await get(paths.server, signal)
    if (!server.ok) return { ready: false, detail: `The server is not ready: ${server.failure.message}` }
    const model = await get(`${paths.model}/ready`, signal)
    if (model.ok && !NotReady.safeParse(parseJsonBody(model.body)).success) {
      known ??= describe(await metadata(paths.model, signal))
      return { ready: true, detail: known ?? 'The model is ready.' }
    }
    known = null
    return { ready: false, detail: whyNot(await metadata(paths.anyVersion, signal), paths) }
  }
}

function whyNot(found: Metadata | null, { model, anyVersion }: ReadinessPaths): string {
  if (found === null) return 'The server does not know the model: check its name.'
  if (model === anyVersion) return 'The server knows the model, but it is not ready (yet).'
  const versions = (found.versions ?? []).map(plain).join(', ')
  const has = versions === '' ? 'It names no versions.' : `It has ${versions}.`
  return bounded(`The server knows the model, but this version of it is not ready or not there. ${has}`)
}

/** What goes in and comes out, so that a person can compare it with what a step sends. Null when nothing is told. */
function describe(metadata: Metadata | null): string | null {
  if (metadata === null) return null
  const side = (tensors: Metadata['inputs']) =>
    (tensors ?? []).map(({ name, datatype, shape }) => `${plain(name)} ${plain(datatype)}[${shape.join(',')}]`)
  const [inputs, outputs] = [side(metadata.inputs), side(metadata.outputs)]
  const form = inputs.length + outputs.length === 0 ? '' : `: ${inputs.join(', ')} -> ${outputs.join(', ')}`
  const platform = metadata.platform ? ` (${plain(metadata.platform)})` : ''
  return bounded(`${plain(metadata.name)}${platform}${form}`)
}

/** A server's own words, for a health report. */
const plain = (text: string): string => text.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 60)
const bounded = (text: string): string => text.slice(0, DETAIL_CHARS_MAX)
