/** What each exit code means, and which error ends with which. */

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  unreachable: 3,
  notSettled: 4,
  inUse: 5,
  moved: 6,
  interrupted: 130,
} as const
export type ExitCode = (typeof EXIT)[keyof typeof EXIT]

export const EXIT_CODES: readonly { code: ExitCode; meaning: string }[] = [
  { code: EXIT.ok, meaning: 'Done, and everything is as it should be.' },
  {
    code: EXIT.failed,
    meaning: 'Refused or failed: a submission, a pipeline, an action, or a record that did not end as "completed".',
  },
  { code: EXIT.usage, meaning: 'A flag, an ENDSTATE_ variable or the config file is wrong.' },
  { code: EXIT.unreachable, meaning: 'Endstate, MongoDB or NATS cannot be reached, started or used as it is.' },
  { code: EXIT.notSettled, meaning: 'A record had not settled within the time given.' },
  { code: EXIT.inUse, meaning: 'The port or the data directory is in use.' },
  { code: EXIT.moved, meaning: 'The record is not at the version of --if-version any more: look at it again.' },
  { code: EXIT.interrupted, meaning: 'Ended at once by a second Ctrl-C.' },
]

/** An error with a message for people, and the exit code that goes with it. */
export class CliError extends Error {
  readonly code: string
  readonly exitCode: ExitCode
  constructor(exitCode: ExitCode, code: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.exitCode = exitCode
    this.code = code
  }
}

/** By `code`, because these errors are born in rooms that know nothing of processes. */
const BY_CODE: { readonly [code: string]: ExitCode } = {
  'settings-refused': EXIT.usage,
  'config-not-loaded': EXIT.usage,
  'config-refused': EXIT.failed,
  'pipeline-refused': EXIT.failed,
  'deployment-unsuitable': EXIT.unreachable,
  'server-not-found': EXIT.unreachable,
  'store-unavailable': EXIT.unreachable,
  'server-too-old': EXIT.unreachable,
  'server-not-started': EXIT.unreachable,
  'data-directory-in-use': EXIT.inUse,
  'data-directory-unusable': EXIT.usage,
  'port-in-use': EXIT.inUse,
  'bind-failed': EXIT.inUse,
  'bind-refused': EXIT.usage,
}

export const codeOf = (error: unknown): string =>
  error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'failed'

export const exitCodeOf = (error: unknown): ExitCode =>
  error instanceof CliError ? error.exitCode : (BY_CODE[codeOf(error)] ?? EXIT.failed)
