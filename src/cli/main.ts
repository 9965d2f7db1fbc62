#!/usr/bin/env node
/** The entry of the `endstate` command. */
import { processIo } from './io.js'
import { runCli } from './program.js'

const ending = await runCli(process.argv.slice(2), processIo())
if (ending !== 'stay') process.exitCode = ending
