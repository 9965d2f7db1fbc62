/** The two services under load, as one or several processes, in one shape for the load generator. */
import { startProcess } from './processes.mjs'

export async function startBaseline({ mongoUrl, providerUrl, database, processes }) {
  const url = new URL(mongoUrl)
  url.pathname = `/${database}`
  const args = ['--mongodb', url.href, '--provider', providerUrl]
  const started = await Promise.all(
    Array.from({ length: processes }, () => startProcess('baseline/server.mjs', { args })),
  )
  return {
    name: 'baseline',
    synchronous: true,
    path: '/records',
    urls: started.map(({ url }) => url),
    stop: () => Promise.all(started.map((one) => one.stop())),
  }
}

/** `slots` is for each process. `execArgv` goes to node, for a profile. */
export async function startEndstate({ processes, execArgv = [], ...setting }) {
  const started = await Promise.all(
    Array.from({ length: processes }, () =>
      startProcess('node.mjs', { env: { BENCH_NODE: JSON.stringify(setting) }, execArgv }),
    ),
  )
  const listeners = new Set()
  for (const { child } of started)
    child.on('message', ({ settled }) => {
      for (const listener of listeners) listener(settled)
    })
  return {
    name: 'endstate',
    synchronous: false,
    path: '/v1/records',
    urls: started.map(({ url }) => url),
    onSettled(listener) {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    stop: () => Promise.all(started.map((one) => one.stop())),
  }
}
