/** `dev`: everything on this machine until Ctrl-C. */
import { startDev, type DevService } from '../dev-service.js'
import { printJson, type Io } from '../io.js'
import { boundText } from '../text.js'
import { workerText } from '../worker-process.js'
import type { Session } from '../session.js'

export const dev = async (io: Io, session: Session, json: boolean): Promise<void> => {
  const service = await startDev({
    ...session,
    cwd: io.cwd,
    say: io.note,
    onWorker: (event) => {
      if (json) printJson(io, { event: `worker-${event.type}`, ...event, type: undefined })
      else io.note(workerText(event))
    },
  })
  if (json) printJson(io, { event: 'ready', ...factsOf(service) })
  else for (const line of welcome(service)) io.out(line)
}

const factsOf = ({ url, worker, stack, configFile, pipelines }: DevService) => ({
  url,
  worker: worker.pid(),
  config: configFile,
  pipelines,
  ...stack.describe(),
})

/** `dataStays`: or it goes with the process. The commands are written as they work in a clone, too. */
export const welcome = (service: DevService, { dataStays } = { dataStays: true }): string[] => {
  const { url, worker, config, pipelines, dataDir, mongo, nats } = factsOf(service)
  const [first] = pipelines
  return [
    '',
    `Endstate runs at ${url}`,
    `  worker     process ${worker}; end it with "kill -9 ${worker}", and records go on in a new one`,
    `  pipelines  ${pipelines.map((p) => `${p.name} (settles within ${boundText(p.worstCaseMs)})`).join(', ')}`,
    `  config     ${config}`,
    `  data       ${dataDir}`,
    `  mongodb    ${addressOf(mongo)}`,
    `  nats       ${addressOf(nats)}`,
    `Submit with "npx endstate submit FILE --pipeline ${first?.name ?? 'NAME'} --wait${url.endsWith(':8080') ? '' : ` --url ${url}`}".`,
    dataStays ? 'Ctrl-C drains and stops; the data is kept.' : 'Ctrl-C drains, stops, and removes the data.',
  ]
}

const addressOf = ({ url, version, pid }: { url: string; version: string | null; pid: number | null }): string =>
  pid === null ? url.replace(/\/\/.*@/, '//***@') : `${url} (${version}, process ${pid})`
