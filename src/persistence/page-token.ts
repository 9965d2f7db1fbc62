/** Opaque page tokens: base64url of a small JSON array. What comes back is parsed, for it comes from outside. */
import { z } from 'zod'

/** The token is none that this version gave out. */
export class BadPageToken extends Error {
  readonly code = 'bad-page-token'
  constructor() {
    super('The page token is not valid. Pass `next` of the previous page as it was, or none for the first page.')
  }
}

const parseToken = <T>(token: string, schema: z.ZodType<T>): T => {
  let decoded: unknown
  try {
    decoded = JSON.parse(Buffer.from(token, 'base64url').toString())
  } catch {
    throw new BadPageToken()
  }
  const parsed = schema.safeParse(decoded)
  if (!parsed.success) throw new BadPageToken()
  return parsed.data
}

const encode = (parts: readonly (string | number)[]): string => Buffer.from(JSON.stringify(parts)).toString('base64url')

const ms = z.number().int().min(0).max(8.64e15)
const place = z.string().max(512)

/** The last record of a page. */
export type RecordPlace = { at: Date; id: string }
const recordPlace = z.tuple([ms, place]).transform(([at, id]): RecordPlace => ({ at: new Date(at), id }))
export const recordToken = ({ at, id }: RecordPlace): string => encode([at.getTime(), id])
export const parseRecordToken = (token: string): RecordPlace => parseToken(token, recordPlace)

/** The last attempt of a page. */
export type AttemptPlace = { at: Date; id: string; step: string; n: number }
const attemptPlace = z
  .tuple([ms, place, place, z.number().int().min(0)])
  .transform(([at, id, step, n]): AttemptPlace => ({ at: new Date(at), id, step, n }))
export const attemptToken = (last: { acceptedAt: Date; record: string; step: string; n: number }): string =>
  encode([last.acceptedAt.getTime(), last.record, last.step, last.n])
export const parseAttemptToken = (token: string): AttemptPlace => parseToken(token, attemptPlace)

/** The last charge of a page. */
export type ChargePlace = { at: Date; record: string; key: string }
const chargePlace = z
  .tuple([ms, place, place])
  .transform(([at, record, key]): ChargePlace => ({ at: new Date(at), record, key }))
export const chargeToken = ({ at, record, key }: ChargePlace): string => encode([at.getTime(), record, key])
export const parseChargeToken = (token: string): ChargePlace => parseToken(token, chargePlace)
