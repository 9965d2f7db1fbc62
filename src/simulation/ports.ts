/** Everything through which Endstate touches the outside. Faultpoints, metrics and timeouts are decorators of these. */
import type { BlobStore, Heartbeats, ProviderStates, RecordStore } from '../persistence/contract.js'
import type { Provider } from '../providers/contract.js'
import type { HintBus } from '../worker/contract.js'

export type Ports = {
  store: RecordStore
  blobs: BlobStore
  heartbeats: Heartbeats
  bus: HintBus
  /** What all workers know together about providers, and the day's counters of budgets. */
  states: ProviderStates
  providers: ReadonlyMap<string, Provider>
}
