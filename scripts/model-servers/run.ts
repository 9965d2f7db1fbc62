/**
 * Brings the real model servers that tests talk to into the cache, one after the other, so that no test has to wait:
 *   node --import jiti/register scripts/model-servers/run.ts
 */
import { installCog } from './cog.js'
import { installLlama } from './llama.js'
import { installMlserver } from './mlserver.js'

const SERVERS = [installMlserver, installLlama, installCog]

let failed = false
for (const install of SERVERS) {
  try {
    console.log((await install()).dir)
  } catch (error) {
    failed = true
    console.error(error instanceof Error ? error.message : error)
  }
}
process.exitCode = failed ? 1 : 0
