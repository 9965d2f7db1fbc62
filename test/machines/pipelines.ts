/** Pipelines and moments for the tests of the pure machine. */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import type { Compiled } from '../../src/machines/compile.js'
import { compilePipeline } from '../../src/machines/compile.js'
import type { PipelineDefinition, ProviderTerms, StepDefinition } from '../../src/machines/pipeline.js'
import type { OwnChart, Terms } from '../../src/machines/record-machine.js'
import { newRecord } from '../../src/machines/new-record.js'
import type { RecordDocument } from '../../src/machines/record.js'

export const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')

export const provider = (name: string, change: Partial<ProviderTerms> = {}): ProviderTerms => ({
  name,
  recovery: 'blind',
  cost: 'free',
  longestRunMs: 120_000,
  keyTtlMs: 30 * 24 * 3_600_000,
  lookupLagMs: 0,
  findsByToken: false,
  spendMax: null,
  ...change,
})

export const terms: Terms = {
  free: provider('free'),
  keyed: provider('keyed', { recovery: 'idempotent', cost: 'paid', spendMax: { amount: '0.10', currency: 'EUR' } }),
  paid: provider('paid', { cost: 'paid', spendMax: { amount: '0.25', currency: 'EUR' } }),
  job: provider('job', {
    recovery: 'job',
    cost: 'paid',
    findsByToken: true,
    lookupLagMs: 10_000,
    spendMax: { amount: '0.50', currency: 'EUR' },
  }),
  lost: provider('lost', { recovery: 'job', cost: 'paid', spendMax: { amount: '0.50', currency: 'EUR' } }),
  found: provider('found', {
    recovery: 'retrievable',
    cost: 'paid',
    findsByToken: true,
    lookupLagMs: 10_000,
    spendMax: { amount: '0.20', currency: 'EUR' },
  }),
  flight: provider('flight', { recovery: 'in-flight', cost: 'paid', spendMax: { amount: '0.20', currency: 'EUR' } }),
  other: provider('other', { cost: 'paid', spendMax: { amount: '0.30', currency: 'EUR' } }),
}

export const step = (name: string, change: Partial<StepDefinition> = {}): StepDefinition => ({
  name,
  description: `Does ${name}.`,
  use: ['free'],
  deadlineMs: 10_000,
  attempts: 3,
  backoff: { initialMs: 200, maxMs: 5_000 },
  output: z.unknown(),
  request: null,
  onUncertain: null,
  price: { fixed: '0.40', currency: 'EUR' },
  fuse: false,
  keepRequest: false,
  ...change,
})

export const pipeline = (steps: StepDefinition[], change: Partial<PipelineDefinition> = {}): PipelineDefinition => ({
  name: 'test',
  revision: 1,
  description: 'A pipeline of the tests.',
  accepts: ['application/json'],
  maxWaitMs: 3_600_000,
  lease: { sendWithinMs: 5_000, failoverMs: 10_000 },
  inputBytesMax: 1_000_000,
  steps,
  price: null,
  ...change,
})

export const compile = (definition: PipelineDefinition, own?: OwnChart): Compiled =>
  compilePipeline(definition, terms, { sha256, own })

export const noon = new Date('2026-01-01T12:00:00.000Z')
export const after = (ms: number) => new Date(noon.getTime() + ms)

export const record = (compiled: Compiled, change: Partial<RecordDocument> = {}): RecordDocument => ({
  ...newRecord(compiled, {
    id: 'r1',
    source: 'local',
    key: null,
    contentHash: 'h',
    via: 'test',
    metadata: {},
    input: {
      mediaType: 'application/json',
      fileName: null,
      encoding: 'json',
      payload: { inline: '{}', sha256: 'x', bytes: 2 },
    },
    at: noon,
    writer: 'w0',
    by: 'ingest:test',
    shard: 0,
    outagesUntil: noon,
    simulated: false,
  }),
  ...change,
})
