/**
 * OpenAI's published protocol without a network: what is answered to a request, and what is kept. Responses (background,
 * streamed, cancelled, looked up), Chat Completions (stored, listed by metadata, streamed), models, errors.
 * Source: https://developers.openai.com/api/reference
 */
import {
  CompletionCreate,
  invalid,
  refusalOfCompletion,
  refusalOfResponse,
  ResponseCreate,
  type Refusal,
} from './openai-checks.js'
import {
  completionObject,
  completionStream,
  finalStatus,
  responseObject,
  responseStream,
  type RunEnd,
} from './openai-objects.js'

export type OpenAiRequest = { method: string; path: string; headers: { [name: string]: unknown }; body: string }
export type OpenAiAnswer = { status: number; headers: { [name: string]: string }; body: Buffer }

/** What a run comes to; or nothing runs, and it is refused. */
export type RunPlan = RunEnd & {
  refuse?: { status: number; code?: string | null; type?: string; headers?: { [name: string]: string } }
  /** A look-up shows a streamed run as running until it is told to end, as while its events are still being made. */
  running?: boolean
}

export const OPENAI_TEST_KEY = 'sk-test-hunter2'
const MODEL = 'gpt-test'

type Run = {
  id: string
  body: ResponseCreate
  /** What it will come to by itself. */
  plan: RunEnd
  end: RunEnd | null
  started: boolean
  looks: number
}
type Stored = { id: string; body: CompletionCreate; end: RunEnd }

export type OpenAiProtocolOptions = {
  /** No key is asked for, as of a server of one's own. */
  keyless?: boolean
  /** A background run is queued, runs and has ended one look-up after the other. Default: when it is told to. */
  endsByItself?: boolean
  /** For the next run: called once for each request that would start one. */
  plan?: () => RunPlan
}

export class OpenAiProtocol {
  /** Runs that were started: the independent truth of what was paid for. */
  runs = 0
  /** The id of the run that was started last. */
  lastId = ''
  /** False: lists show everything, as those of a server that does not know the filter. */
  filters = true
  readonly #options: OpenAiProtocolOptions
  readonly #responses = new Map<string, Run>()
  readonly #completions = new Map<string, Stored>()

  constructor(options: OpenAiProtocolOptions) {
    this.#options = options
  }

  answer(request: OpenAiRequest): OpenAiAnswer {
    const { method, path, headers } = request
    const url = new URL(path, 'http://localhost')
    const [, version, kind = '', second = '', third] = url.pathname.split('/').map(decodeURIComponent)
    if (version !== 'v1') return { status: 404, headers: {}, body: Buffer.from('not here') }
    if (!this.#options.keyless && headers['authorization'] !== `Bearer ${OPENAI_TEST_KEY}`) return refusal(WRONG_KEY)
    switch (`${method} ${kind}`) {
      case 'POST responses':
        return third === 'cancel' ? this.#cancel(second) : this.#createResponse(request.body)
      case 'GET responses':
        return this.#look(second)
      case 'POST chat':
        return this.#createCompletion(request.body)
      case 'GET chat':
        return this.#list(url.searchParams)
      case 'GET models':
        if (second === '') return json(200, { object: 'list', data: [MODEL_OBJECT] })
        if (second === MODEL) return json(200, MODEL_OBJECT)
    }
    return refusal({ ...invalid('Unknown.'), status: 404, code: kind === 'models' ? 'model_not_found' : 'unknown_url' })
  }

  /** Ends a background run, or with `started` only moves it on from the queue. */
  finish(id: string, end: RunEnd | 'started'): void {
    const run = this.#responses.get(id)
    if (run === undefined) throw new Error(`There is no response ${id} here.`)
    run.started = true
    if (end !== 'started') run.end ??= end
  }

  #start(prefix: string): string {
    this.runs += 1
    this.lastId = `${prefix}_${String(this.runs).padStart(4, '0')}`
    return this.lastId
  }

  #createResponse(text: string): OpenAiAnswer {
    const parsed = ResponseCreate.safeParse(parse(text))
    if (!parsed.success) return refusal(invalid(parsed.error.message))
    const body = parsed.data
    const refused = refusalOfResponse(body) ?? unknownModel(body.model)
    if (refused !== null) return refusal(refused)
    const plan = this.#options.plan?.() ?? {}
    if (plan.refuse) return refusal({ ...REFUSED, ...plan.refuse }, plan.refuse.headers)
    const id = this.#start('resp')
    const run: Run = {
      id,
      body,
      plan,
      end: body.background || plan.running ? null : plan,
      started: !body.background,
      looks: 0,
    }
    if (body.store !== false) this.#responses.set(id, run)
    return body.stream ? events(responseStream(id, body, plan)) : json(200, shown(run))
  }

  #createCompletion(text: string): OpenAiAnswer {
    const parsed = CompletionCreate.safeParse(parse(text))
    if (!parsed.success) return refusal(invalid(parsed.error.message))
    const body = parsed.data
    const refused = refusalOfCompletion(body) ?? unknownModel(body.model)
    if (refused !== null) return refusal(refused)
    const plan = this.#options.plan?.() ?? {}
    if (plan.refuse) return refusal({ ...REFUSED, ...plan.refuse }, plan.refuse.headers)
    const id = this.#start('chatcmpl')
    if (body.store) this.#completions.set(id, { id, body, end: plan })
    return body.stream ? events(completionStream(id, body, plan)) : json(200, completionObject(id, body, plan))
  }

  #look(id: string): OpenAiAnswer {
    const run = this.#responses.get(id)
    if (run === undefined) return refusal(noResponse(id))
    run.looks += 1
    if (this.#options.endsByItself && run.looks === 2) this.finish(id, 'started')
    if (this.#options.endsByItself && run.looks === 3) this.finish(id, run.plan)
    return json(200, shown(run))
  }

  #cancel(id: string): OpenAiAnswer {
    const run = this.#responses.get(id)
    if (run === undefined) return refusal(noResponse(id))
    if (!run.body.background) return refusal(invalid('Only background responses can be cancelled.'))
    run.end ??= { cancelled: true }
    return json(200, shown(run))
  }

  #list(query: URLSearchParams): OpenAiAnswer {
    const wanted = [...query].flatMap(([name, value]) => {
      const key = /^metadata\[(.+)\]$/.exec(name)?.[1]
      return key === undefined ? [] : [[key, value] as const]
    })
    const limit = Number(query.get('limit') ?? 20)
    const matching = [...this.#completions.values()].filter(
      ({ body }) => !this.filters || wanted.every(([key, value]) => body.metadata?.[key] === value),
    )
    const data = matching
      .slice(0, limit)
      .map(({ id, body, end }) => ({ ...completionObject(id, body, end), metadata: body.metadata ?? {} }))
    const ends = { first_id: data[0]?.id ?? null, last_id: data.at(-1)?.id ?? null }
    return json(200, { object: 'list', data, ...ends, has_more: matching.length > limit })
  }
}

/** As every answer has them. */
const HEADERS = {
  'x-request-id': 'req_test_1',
  'openai-processing-ms': '12',
  'x-ratelimit-limit-requests': '500',
  'x-ratelimit-remaining-requests': '499',
  'x-ratelimit-limit-tokens': '30000',
  'x-ratelimit-remaining-tokens': '29800',
}
const MODEL_OBJECT = { id: MODEL, object: 'model', created: 1, owned_by: 'test' }
const REFUSED: Refusal = { ...invalid('Refused: hunter2.'), code: null }
const WRONG_KEY: Refusal = { ...invalid('Incorrect API key provided.', null, 'invalid_api_key'), status: 401 }

const json = (status: number, value: unknown, headers: { [name: string]: string } = {}): OpenAiAnswer => ({
  status,
  headers: { 'content-type': 'application/json', ...HEADERS, ...headers },
  body: Buffer.from(JSON.stringify(value)),
})

const events = (body: Buffer): OpenAiAnswer => ({
  status: 200,
  headers: { 'content-type': 'text/event-stream; charset=utf-8', ...HEADERS },
  body,
})

const refusal = ({ status, ...error }: Refusal, headers?: { [name: string]: string }): OpenAiAnswer =>
  json(status, { error }, headers)

const unknownModel = (model: string): Refusal | null =>
  model === MODEL ? null : { ...invalid('The model does not exist.', null, 'model_not_found'), status: 404 }

const noResponse = (id: string): Refusal => ({
  ...invalid(`Response with id '${id}' not found.`, 'id'),
  status: 404,
})

const shown = ({ id, body, end, started }: Run) => {
  if (end !== null) return responseObject(id, body, finalStatus(end), end)
  return responseObject(id, body, started ? 'in_progress' : 'queued', null)
}

/** Undefined when it is no JSON. */
function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown
  } catch {
    return undefined
  }
}
