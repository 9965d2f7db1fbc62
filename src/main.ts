/**
 * The entry of a service process, and the only reader of the environment (the CLI reads it for its own flags).
 * Exit codes: 0 ended by a signal after draining, 1 failed, 2 a setting or the config file is wrong, 3 MongoDB or NATS
 * can't be reached or used, 5 the port is in use, 130 ended at once by a second signal.
 */
import { exitCodeOf } from './cli/exit-codes.js'
import { reportFailure, serve } from './cli/serve.js'
import { readSettings, requireServers } from './config/settings.js'

try {
  await serve(requireServers(readSettings(process.env)), process.env)
} catch (error) {
  reportFailure(error)
  process.exit(exitCodeOf(error))
}
