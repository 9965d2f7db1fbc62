/**
 * A secret of the deployment that nobody has to configure: made once, by whichever process comes first, and kept in the
 * database. It signs the tokens in webhook URLs; whoever reads the database could write its records anyway.
 */
import { randomBytes } from 'node:crypto'
import type { Db } from 'mongodb'
import { COLLECTION_OPTIONS, durably } from './collections.js'
import { withDeadline } from './deadline.js'

type SecretDocument = { _id: string; secret: string }

const NAME = 'webhooks'
const LIMIT_MS = 10_000

export const deploymentSecret = (db: Db): Promise<string> =>
  withDeadline("Reading the deployment's secret", LIMIT_MS, (signal) => readOrMake(db, signal))

const readOrMake = async (db: Db, signal: AbortSignal): Promise<string> => {
  const secrets = db.collection<SecretDocument>('deployment_secrets', {
    ...COLLECTION_OPTIONS,
    readConcern: { level: 'majority' },
    writeConcern: durably(LIMIT_MS),
  })
  const found = await secrets.findOne({ _id: NAME }, { signal })
  if (found) return found.secret
  // Of two that come first, one is kept; both then read that one.
  const secret = randomBytes(32).toString('base64url')
  await secrets.updateOne({ _id: NAME }, { $setOnInsert: { secret } }, { upsert: true })
  return (await secrets.findOne({ _id: NAME }, { signal }))!.secret
}
