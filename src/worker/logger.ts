/** The part of a pino logger that the shell uses. Never content, only ids, codes and counts. */
import { pino } from 'pino'
import type { Logger as PinoLogger } from 'pino'

export type Logger = Pick<PinoLogger, 'info' | 'warn' | 'error'>

export const silent: Logger = pino({ level: 'silent' })
