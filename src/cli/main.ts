#!/usr/bin/env node
/** The entry of the `endstate` command. */
import { processIo } from './io.js'
import { runCli } from './program.js'

// A reader that has seen enough, such as `head`, is no failure.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined)

const ending = await runCli(process.argv.slice(2), processIo())
if (ending !== 'stay') process.exitCode = ending
