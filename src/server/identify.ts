/**
 * Who is asking, on a loopback bind without keys: the source named by the header `Endstate-Source`, else `local`.
 *
 * Being on loopback is no proof of being local: a web page can make a browser call 127.0.0.1, under a foreign name
 * (DNS rebinding) or as a cross-site form. So Host must name loopback, and Origin, where a browser sends it, too.
 */
import type { Context } from 'koa'
import type { Identity } from './contract.js'
import { Problem } from './problem.js'

const SOURCE = /^[a-z0-9-]{1,40}$/

export function isLoopbackHost(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  return name === 'localhost' || name === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name)
}

/** Throws Problem. For `ServerDeps.identify`, and only where the server is bound to loopback. */
export function loopbackIdentity(ctx: Context): Identity {
  const host = /^(\[[^\]]*\]|[^:]*)(?::\d{1,5})?$/.exec(ctx.get('host'))?.[1] ?? ''
  if (!isLoopbackHost(host)) throw foreign('Host', `ask for http://127.0.0.1 or http://localhost`)
  const origin = ctx.get('origin')
  if (origin !== '' && !isLoopbackHost(hostOf(origin))) throw foreign('Origin', 'call the API from a page served by it')
  const source = ctx.get('endstate-source') || 'local'
  if (!SOURCE.test(source)) {
    throw new Problem(400, 'invalid-request', 'The header Endstate-Source must be 1 to 40 of a-z, 0-9 and "-".')
  }
  return { source, sees: 'all' }
}

function foreign(header: string, fix: string): Problem {
  return new Problem(
    403,
    'foreign-host',
    `Without API keys only local requests are answered, but ${header} is not local: ${fix}.`,
  )
}

function hostOf(origin: string): string {
  return URL.canParse(origin) ? new URL(origin).hostname : ''
}
