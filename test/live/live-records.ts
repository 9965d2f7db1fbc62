/** Records and history entries as the API answers them. */
import { LiveRecord, WayEntry } from '../../src/live/shapes.js'

export const seconds = (n: number): string => new Date(Date.UTC(2026, 0, 1) + n * 1000).toISOString()

export const liveRecord = (id: string, change: { [field: string]: unknown } = {}): LiveRecord =>
  LiveRecord.parse({
    id,
    version: 1,
    status: 'processing',
    state: { read: 'ready' },
    pipeline: 'referral',
    pipelineVersion: 'v',
    source: 'local',
    key: null,
    metadata: {},
    acceptedAt: seconds(0),
    settlesBy: seconds(4_000),
    settledAt: null,
    wakeAt: null,
    generation: 1,
    simulated: false,
    reason: null,
    input: { mediaType: 'image/png', fileName: `${id}.png`, bytes: 10, sha256: 'x', link: `/v1/records/${id}/input` },
    steps: {},
    charges: {},
    ...change,
  })

export const wayEntry = (version: number, change: { [field: string]: unknown } = {}): WayEntry =>
  WayEntry.parse({
    version,
    at: seconds(version),
    event: { type: 'RECORD_ACCEPTED' },
    from: 'a',
    to: 'b',
    by: 'worker:1',
    ...change,
  })
