/** Answers of the service by the schemas that it makes them with. */
import type { z } from 'zod'
import { CliError, EXIT } from './exit-codes.js'

/** Throws CliError for what another version of Endstate may answer. */
export const parsedAnswer = <T extends z.ZodType>(schema: T, raw: unknown): z.output<T> => {
  const { success, data } = schema.safeParse(raw)
  if (success) return data
  throw new CliError(
    EXIT.unreachable,
    'no-endstate',
    'The service answers otherwise than this version of Endstate knows. Use the version that runs there.',
  )
}
