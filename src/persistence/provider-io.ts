/** What the statements about providers share: the collection, and one atomic update of a named document. */
import type { Collection, Db, Document } from 'mongodb'
import { COLLECTION_OPTIONS, durably } from './collections.js'
import { withDeadline } from './deadline.js'
import { DUPLICATE_KEY } from './failures.js'

export type ProviderIo = { db: Db; timeoutMs: number }
type Named = { _id: string } & Document

export const providerCollection = (io: ProviderIo, name: string): Collection<Named> =>
  io.db.collection<Named>(name, COLLECTION_OPTIONS)

/** Two first updates at once: one loses the insert and finds the document on its second try. */
export const updateNamed = async (io: ProviderIo, name: string, id: string, update: Document[]): Promise<Document> => {
  for (let attempt = 1; ; attempt += 1)
    try {
      const updated = await withDeadline(`Updating ${name}`, io.timeoutMs, (signal) => {
        const options = { writeConcern: durably(Math.ceil(io.timeoutMs * 0.8)), signal }
        return providerCollection(io, name).findOneAndUpdate({ _id: id }, update, {
          upsert: true,
          returnDocument: 'after',
          projection: { totals: 0 },
          ...options,
        })
      })
      return updated ?? {}
    } catch (error) {
      if ((error as { code?: unknown }).code !== DUPLICATE_KEY || attempt > 1) throw error
    }
}
