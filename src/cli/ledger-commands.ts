/** Commands about money and providers: `charges`, `report`, `providers`. */
import { Option, type Command } from 'commander'
import { DOUBTS, EXPLANATIONS } from '../persistence/contract.js'
import type { ChargesFlags } from './commands/charges.js'
import type { ReportFlags } from './commands/report.js'
import { clientFrom, flagsOf, type GlobalFlags } from './flags.js'
import type { Run } from './program.js'

export const ledgerCommands = (program: Command, run: Run): void => {
  chargesCommand(program, run)
  reportCommand(program, run)
  providersCommand(program, run)
}

const chargesCommand = (program: Command, run: Run): void => {
  program
    .command('charges')
    .description('list charges, newest first: what customers owe')
    .option('--from <time>', 'charged at this time or later: 2026-03-01, or a full time')
    .option('--to <time>', 'charged before this time: 2026-03-31 includes that day')
    .option('--pipeline <name>', 'only of this pipeline')
    .option('--limit <n>', '1 to 200', '50')
    .option('--page <token>', 'the page that the list before named')
    .option('--csv', 'all of them, as CSV')
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags & ChargesFlags>(command)
        const { charges } = await import('./commands/charges.js')
        return charges(io, clientFrom(flags, io.env), flags)
      }),
    )
}

const reportCommand = (program: Command, run: Run): void => {
  program
    .command('report')
    .description('charges beside spend: margins, duplicates, and every difference explained')
    .option(
      '--from <time>',
      'accepted at this time or later: 2026-03-01, or a full time; default 30 days, today included',
    )
    .option('--to <time>', 'up to this time: 2026-03-31 includes that day; default now')
    .option('--group-by <names>', 'some of day,source,pipeline,provider', 'day,source,pipeline,provider')
    .option('--pipeline <name>', 'only of this pipeline')
    .option('--provider <name>', 'only of this provider')
    .option('--explain', 'the attempts behind the sums instead of the sums')
    .addOption(new Option('--explanation <name>', 'with --explain, only these').choices(EXPLANATIONS))
    .addOption(new Option('--doubt <name>', 'with --explain, only these').choices(DOUBTS))
    .option('--limit <n>', 'with --explain: 1 to 200', '50')
    .option('--page <token>', 'with --explain: the page that the one before named')
    .option('--csv', 'as CSV')
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags & ReportFlags>(command)
        const { report } = await import('./commands/report.js')
        return report(io, clientFrom(flags, io.env), flags)
      }),
    )
}

const providersCommand = (program: Command, run: Run): void => {
  program
    .command('providers')
    .description('how each provider does: up or down, calls, durations, limits, and what was spent today')
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags>(command)
        const { providers } = await import('./commands/providers.js')
        return providers(io, clientFrom(flags, io.env), flags.json === true, Date.now())
      }),
    )
}
