/**
 * What an error of the driver or the server means for a write: refused for good, or possibly done.
 *
 * Only errors about the document itself refuse it. Everything else (no primary, no disk, no rights, a cut connection)
 * may pass, or may have come after the write was done, so it leaves the outcome unknown (S3).
 */
import { BSON, MongoBulkWriteError, MongoError, MongoInvalidArgumentError } from 'mongodb'
import type { WriteError } from 'mongodb'
import { OperationTimedOut } from './deadline.js'
import { StoreUnavailable } from './contract.js'

export const DUPLICATE_KEY = 11000

/** Server error codes that speak about the document, by the answer's code. */
const REFUSING_CODES = new Map<number, string>([
  [2, 'bad-value'],
  [9, 'bad-value'],
  [14, 'bad-value'],
  [15, 'too-deep'],
  [22, 'bad-value'],
  [28, 'bad-value'],
  [52, 'bad-name'],
  [55, 'bad-name'],
  [56, 'bad-name'],
  [57, 'bad-name'],
  [121, 'validation-failed'],
  [10334, 'too-large'],
  [17419, 'too-large'],
  [17420, 'too-large'],
])

export type Refusal = { kind: 'refused'; code: string; message: string }

export const refusedAs = (code: string, message: string): Refusal => ({ kind: 'refused', code, message })

/** The server's message may quote the document: only its code and name leave this file. */
const refusalOf = (serverCode: number | string | undefined): Refusal | null => {
  const code = REFUSING_CODES.get(Number(serverCode))
  return code ? refusedAs(code, `MongoDB refused the document with error code ${serverCode} (${code}).`) : null
}

export const refusalOfWriteError = (error: WriteError): Refusal | null => refusalOf(error.code)

export const TOO_LARGE = refusedAs('too-large', 'The document is larger than the 16 MiB that MongoDB can hold.')

/**
 * The whole batch was turned away before any of it was done, because of one of its documents.
 * Null: the reason is another one.
 */
export const refusalOfBatch = (error: unknown): Refusal | null => {
  if (error instanceof MongoInvalidArgumentError && error.message.includes('larger than')) return TOO_LARGE
  // The driver writes into a buffer of 17 MiB and runs over its end; nesting beyond the stack is the other RangeError.
  if (error instanceof RangeError && !error.message.includes('call stack')) return TOO_LARGE
  if (error instanceof BSON.BSONError || error instanceof RangeError)
    return refusedAs('not-encodable', `The document can't be encoded as BSON (${error.name}).`)
  if (error instanceof MongoError) return refusalOf(error.code)
  return null
}

export const writeErrorsOf = (error: unknown): readonly WriteError[] =>
  error instanceof MongoBulkWriteError ? [error.writeErrors].flat() : []

/** Names an error without quoting what it may contain. */
export const nameOf = (error: unknown): string => {
  if (error instanceof OperationTimedOut) return error.message
  if (error instanceof MongoError) return `${error.name}${error.code === undefined ? '' : ` (code ${error.code})`}`
  return error instanceof Error ? error.name : typeof error
}

const isMissingIndex = (error: unknown): boolean =>
  error instanceof MongoError && error.code === 2 && error.message.includes('hint')

/** Runs a read; what the driver throws becomes `StoreUnavailable`, with the driver's error as its cause. */
export const reading = async <T>(what: string, read: () => Promise<T>): Promise<T> => {
  try {
    return await read()
  } catch (error) {
    if (isMissingIndex(error))
      throw new StoreUnavailable(`${what} failed: its index is missing. Call ensureIndexes(db) once at startup.`, {
        cause: error,
      })
    if (error instanceof OperationTimedOut || error instanceof MongoError)
      throw new StoreUnavailable(`${what} failed: ${nameOf(error)}.`, { cause: error })
    throw error
  }
}
