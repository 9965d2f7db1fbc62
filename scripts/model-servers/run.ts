/**
 * Brings the real model servers that tests talk to into the cache, side by side, so that no test has to wait:
 *   node --import jiti/register scripts/model-servers/run.ts
 */
import { installCog } from './cog.js'
import { installLlama } from './llama.js'
import { installMlserver } from './mlserver.js'

const installations = await Promise.allSettled([installMlserver(), installLlama(), installCog()])
for (const one of installations) {
  if (one.status === 'fulfilled') console.log(one.value.dir)
  else console.error(one.reason instanceof Error ? one.reason.message : one.reason)
}
process.exitCode = installations.every(({ status }) => status === 'fulfilled') ? 0 : 1
