/** The command `audit`: what it takes. */
import type { Command } from 'commander'
import type { AuditFlags } from './commands/audit.js'
import { durationFlag, flagsOf } from './flags.js'
import type { Run } from './program.js'

export const auditCommand = (program: Command, run: Run): void => {
  program
    .command('audit')
    .description('check every record of a live deployment for broken promises; reads only')
    .option(
      '--mongo <url>',
      'read this database instead of asking a service (ENDSTATE_MONGODB_URL, where no --url or ENDSTATE_URL is given)',
    )
    .option('--config <file>', 'with --mongo: ENDSTATE_CONFIG, default ./endstate.config.ts, else the shipped one')
    .option('--blobs', 'look for all blobs that records name, instead of a sample')
    .option('--watch', 'go on: look again at what changes, and print what breaks and what is mended, until Ctrl-C')
    .option('--every <duration>', 'with --watch: the pause between two passes', durationFlag, 10_000)
    .action(
      run(async (io, command) => {
        const { audit } = await import('./commands/audit.js')
        return audit(io, flagsOf<AuditFlags>(command))
      }),
    )
}
