/** Refuses, at startup, a MongoDB on which the promises can't be kept. Asks only what every user may ask (`hello`). */
import type { Db, Document } from 'mongodb'
import { withDeadline } from './deadline.js'

/** This MongoDB can't hold records. The message names the fix. */
export class DeploymentUnsuitable extends Error {
  readonly code = 'deployment-unsuitable'
}

/** Wire version of MongoDB 6.0. */
const WIRE_VERSION_MIN = 17
const HELLO_TIMEOUT_MS = 10_000

const hello = (db: Db): Promise<Document> =>
  withDeadline('hello', HELLO_TIMEOUT_MS, (signal) => db.admin().command({ hello: 1 }, { signal }))

export const isSharded = async (db: Db): Promise<boolean> => (await hello(db))['msg'] === 'isdbgrid'

/** The part of `hello` that decides. Throws `DeploymentUnsuitable`. */
export const assertSuitable = (answer: Document): void => {
  const found = Number(answer['maxWireVersion'] ?? 0)
  if (found < WIRE_VERSION_MIN)
    throw new DeploymentUnsuitable(
      `MongoDB is older than 6.0 (wire version ${found}, expected ${WIRE_VERSION_MIN} or more). Upgrade the server to 6.0 or newer.`,
    )
  if (answer['msg'] !== 'isdbgrid' && answer['setName'] === undefined)
    throw new DeploymentUnsuitable(
      'MongoDB is a standalone server, on which no write can be confirmed by a majority. ' +
        'Start it with --replSet NAME and run rs.initiate() once, or give the URL of a replica set or of a mongos.',
    )
}

/** Throws `DeploymentUnsuitable`, or what the driver throws when no server answers. */
export const assertDeployment = async (db: Db): Promise<void> => assertSuitable(await hello(db))
