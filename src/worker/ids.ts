import { randomBytes } from 'node:crypto'
import { v7 } from 'uuid'
import type { Ids } from './contract.js'

export const createIds = (): Ids => {
  // A process prefix and a counter: unique, and far cheaper than a random draw for each save.
  const prefix = randomBytes(9).toString('base64url')
  let count = 0
  return { record: () => v7(), writer: () => `${prefix}.${(count += 1).toString(36)}` }
}
