/**
 * The `endstate` command line: which commands there are, what they take, and how they end. Each command's work is in a
 * file of its own.
 */
import { Command, CommanderError, Option } from 'commander'
import { requireServers, SETTINGS } from '../config/settings.js'
import { STATUSES } from '../live/shapes.js'
import { ACTIONS, type ActionName } from './api-client.js'
import { codeOf, EXIT, EXIT_CODES, exitCodeOf, type ExitCode } from './exit-codes.js'
import {
  clientFrom,
  durationFlag,
  flagsOf,
  settingsFrom,
  versionFlag,
  type GlobalFlags,
  type ServiceFlags,
} from './flags.js'
import { printJson, type Io } from './io.js'
import { ledgerCommands } from './ledger-commands.js'
import { auditCommand } from './audit-command.js'
import { tableText } from './text.js'

export type Ending = ExitCode | 'stay'
export type Run = (action: (io: Io, command: Command) => Promise<Ending>) => (...args: unknown[]) => Promise<void>

/** Runs one command line. Answers the exit code, or `stay` when the process goes on as a service. */
export const runCli = async (args: readonly string[], io: Io): Promise<Ending> => {
  let ending: Ending = EXIT.ok
  const run: Run =
    (action) =>
    async (...given) => {
      ending = await action(io, given.at(-1) as Command)
    }
  try {
    await buildProgram(io, run).parseAsync([...args], { from: 'user' })
    return ending
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok // help
    const message = error instanceof Error ? error.message : String(error)
    const code = error instanceof CommanderError ? 'usage' : codeOf(error)
    if (code !== 'usage') io.note(`endstate: ${message}`) // commander has said it already
    // Without a code it is a bug or the platform's: then the stack helps.
    if (code === 'failed' && error instanceof Error) io.note(error.stack ?? '')
    if (args.includes('--json')) printJson(io, { error: { code, message } })
    return code === 'usage' ? EXIT.usage : exitCodeOf(error)
  }
}

const buildProgram = (io: Io, run: Run): Command => {
  const program = new Command('endstate')
    .description(
      'Runs AI inference over records that matter: each settles, is charged at most once, has one result per step.',
    )
    .option('--json', 'one JSON value a line on stdout; everything else goes to stderr')
    .option('--url <url>', 'the service to talk to (ENDSTATE_URL, default http://127.0.0.1:8080)')
    .option('--source <name>', 'whose records: the source to submit and read as')
    .configureHelp({ showGlobalOptions: true, sortSubcommands: false })
    .configureOutput({ writeOut: (text) => io.out(text.trimEnd()), writeErr: (text) => io.note(text.trimEnd()) })
    .exitOverride()
    .showHelpAfterError('Run "endstate help" for what there is.')
    .addHelpText('after', `\nExit codes:\n${exitCodesText()}`)
  serviceCommands(program, run)
  recordCommands(program, run)
  actionCommands(program, run)
  ledgerCommands(program, run)
  auditCommand(program, run)
  topics(program, io)
  return program
}

const exitCodesText = (): string => tableText(EXIT_CODES.map(({ code, meaning }) => [`  ${code}`, meaning])).join('\n')

const settingsText = (): string => SETTINGS.map(({ name, shape }) => `  ${name}\n      ${shape}`).join('\n')

const serviceOptions = (command: Command): Command =>
  command
    .option('--port <port>', 'of the API, 0 for any free one (ENDSTATE_PORT, default 8080)')
    .option('--config <file>', 'ENDSTATE_CONFIG, default ./endstate.config.ts, else the one that comes with Endstate')

const dataOption = (command: Command): Command =>
  command.option(
    '--data <dir>',
    'where the embedded MongoDB and NATS keep their data (ENDSTATE_DATA, default .endstate)',
  )

const serviceCommands = (program: Command, run: Run): void => {
  dataOption(serviceOptions(program.command('dev')))
    .description('run everything on this machine: MongoDB, NATS, API, sweeper and a worker; Ctrl-C stops it')
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags & ServiceFlags>(command)
        const { withSession } = await import('./session.js')
        const { dev } = await import('./commands/dev.js')
        await withSession(io, flags, {}, async (session) => {
          await dev(io, session, flags.json === true)
          return 'stay'
        })
        return 'stay'
      }),
    )
  serviceOptions(program.command('start'))
    .description(
      'run roles of a deployment, on the MongoDB and NATS named by ENDSTATE_MONGODB_URL and ENDSTATE_NATS_URL',
    )
    .option('--roles <roles>', 'ENDSTATE_ROLES, default api,worker,sweeper')
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags & ServiceFlags>(command)
        const { settings, environment } = settingsFrom(flags, io.env)
        const connected = requireServers(settings)
        const { serve } = await import('./serve.js')
        await serve(connected, environment, {
          onFailure: (code, message) => flags.json === true && printJson(io, { error: { code, message } }),
        })
        return 'stay'
      }),
    )
  dataOption(program.command('demo'))
    .description('run everything, submit the sample documents, show their way, their results and their charges')
    .option('--once', 'stop when all samples have settled')
    .option('--port <port>', 'of the API, default any free one')
    .option('--timeout <duration>', 'for the samples to settle, such as 5m', durationFlag, 300_000)
    .addHelpText('after', '\nWithout --data the data is temporary and removed at the end.')
    .action(run(demoAction))
  program
    .command('verify')
    .description('prove that every pipeline of a config always settles, and say how long that may take')
    .option('--config <file>', 'ENDSTATE_CONFIG, default ./endstate.config.ts, else the one that comes with Endstate')
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags & ServiceFlags>(command)
        const { verifyConfig } = await import('./commands/verify.js')
        const file = flags.config ?? (io.env['ENDSTATE_CONFIG'] || null)
        return verifyConfig(io, file, flags.json === true)
      }),
    )
}

const demoAction = async (io: Io, command: Command): Promise<Ending> => {
  const flags = flagsOf<GlobalFlags & ServiceFlags & { once?: true; timeout: number }>(command)
  const { withSession } = await import('./session.js')
  const { demo, temporaryData } = await import('./commands/demo.js')
  const { SHIPPED_CONFIG } = await import('../config/load-config.js')
  const options = { once: flags.once === true, json: flags.json === true, timeoutMs: flags.timeout }
  let ending: Ending = EXIT.ok
  // The samples are for the pipeline that comes with Endstate, whatever config lies here.
  const own = { port: flags.port ?? '0', config: SHIPPED_CONFIG }
  await withSession(io, { ...flags, ...own }, {}, async (session) => {
    const data = flags.data ?? (await temporaryData(session.lifetime))
    const settings = { ...session.settings, dataDir: data }
    const dataStays = flags.data !== undefined || settings.mongo !== null
    const { exitCode, next } = await demo(io, { ...session, settings }, { ...options, dataStays })
    ending = next === 'stay' ? 'stay' : exitCode
    return next
  })
  return ending
}

const recordCommands = (program: Command, run: Run): void => {
  program
    .command('submit')
    .description('submit files, one record each')
    .argument('<file...>', 'files to submit')
    .requiredOption('--pipeline <name>', 'the pipeline to run')
    .option('--key <key>', 'idempotency key: the same key is the same record, however often it is submitted')
    .option('--wait', 'until the records have settled, and show their way')
    .option('--timeout <duration>', 'for --wait, such as 90s', durationFlag, 600_000)
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags & { pipeline: string; key?: string; wait?: true; timeout: number }>(command)
        const { submit } = await import('./commands/submit.js')
        return submit(io, clientFrom(flags, io.env), command.args, {
          pipeline: flags.pipeline,
          key: flags.key ?? null,
          wait: flags.wait === true,
          timeoutMs: flags.timeout,
          json: flags.json === true,
          signal: io.interruption(),
        })
      }),
    )
  program
    .command('list')
    .description('list records, newest first')
    .addOption(new Option('--status <status>', 'only these').choices(STATUSES))
    .option('--pipeline <name>', 'only of this pipeline')
    .option('--limit <n>', '1 to 200', '50')
    .option('--page <token>', 'the page that the list before named')
    .action(
      run(async (io, command) => {
        const { status, pipeline, limit, page, source, ...flags } = flagsOf<GlobalFlags & { [name: string]: string }>(
          command,
        )
        const { list } = await import('./commands/records.js')
        const query = Object.entries({ status, pipeline, limit, page, source }).filter(
          ([, value]) => value !== undefined,
        )
        return list(
          io,
          clientFrom({ ...flags, ...(source !== undefined && { source }) }, io.env),
          Object.fromEntries(query),
          flags.json === true,
        )
      }),
    )
  program
    .command('show')
    .description('show a record: its way, attempts, spend, results and charges')
    .argument('<id>', 'of the record')
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags>(command)
        const { show } = await import('./commands/records.js')
        return show(io, clientFrom(flags, io.env), command.args[0] ?? '', flags.json === true)
      }),
    )
  program
    .command('watch')
    .description('follow one record until it has settled, or the newest ones until Ctrl-C')
    .argument('[id]', 'of the record')
    .option('--timeout <duration>', 'how long to wait for the record, such as 90s', durationFlag)
    .action(
      run(async (io, command) => {
        const flags = flagsOf<GlobalFlags & { timeout?: number }>(command)
        const { watch } = await import('./commands/records.js')
        const options = { timeoutMs: flags.timeout ?? null, json: flags.json === true, signal: io.interruption() }
        return watch(io, clientFrom(flags, io.env), command.args[0], options)
      }),
    )
}

const ACTION_TEXTS: { readonly [name in ActionName]: string } = {
  cancel: 'end a record: nothing new is started, what it has stays',
  retry: 'start a record in investigation again; steps that have their result are not called again',
  'write-off': 'give up a record in investigation: it ends as cancelled',
}

const actionCommands = (program: Command, run: Run): void => {
  for (const name of ACTIONS)
    program
      .command(name)
      .description(ACTION_TEXTS[name])
      .argument('<id>', 'of the record')
      .requiredOption('--reason <text>', 'why, for the history; no patient data')
      .option('--if-version <n>', 'only while the record has this version, as "show --json" gives it', versionFlag)
      .action(
        run(async (io, command) => {
          const flags = flagsOf<GlobalFlags & { reason: string; ifVersion?: number }>(command)
          const { act } = await import('./commands/act.js')
          return act(io, clientFrom(flags, io.env), name, command.args[0] ?? '', {
            reason: flags.reason,
            ifVersion: flags.ifVersion ?? null,
            json: flags.json === true,
          })
        }),
      )
}

/** What `endstate help <topic>` explains. */
const topics = (program: Command, io: Io): void => {
  program
    .command('exit-codes')
    .description('what each exit code means')
    .addHelpText('after', `\n${exitCodesText()}`)
    .action(() => io.out(exitCodesText()))
  program
    .command('settings')
    .description('the ENDSTATE_ variables')
    .addHelpText('after', `\n${settingsText()}`)
    .action(() => io.out(settingsText()))
}
