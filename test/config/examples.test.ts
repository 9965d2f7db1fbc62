/** The shipped config and the examples of steps across providers, loaded as anybody loads them, on real servers. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PDFDocument } from 'pdf-lib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { loadConfig } from '../../src/config/load-config.js'
import { createEndstate, type EndstateInstance } from '../../src/endstate.js'
import { CONFIG_MODULES } from '../../src/cli/config-modules.js'
import type { RecordDocument } from '../../src/machines/record.js'
import { waitFor } from '../support/processes.js'
import { freshDb, freshNats, type FreshDb, type FreshNats } from '../support/servers.js'

const ROOT = join(import.meta.dirname, '../..')

const example = (file: string) => {
  let db: FreshDb
  let nats: FreshNats
  let instance: EndstateInstance
  beforeAll(async () => {
    db = await freshDb('examples')
    nats = await freshNats('examples')
    instance = await createEndstate(await loadConfig(join(ROOT, file), CONFIG_MODULES), {
      mongo: db.client,
      database: db.db.databaseName,
      nats: nats.connection,
      prefix: nats.prefix,
      roles: ['worker', 'sweeper'],
      secrets: () => undefined,
    })
    await instance.start()
  })
  afterAll(async () => {
    await instance?.close()
    await nats?.dispose()
    await db?.dispose()
  })
  const settled = async (pipeline: string, json: unknown): Promise<RecordDocument> => {
    const content = json instanceof Uint8Array ? { bytes: json } : { json }
    const envelope = { source: 'clinic', via: 'test', key: null, mediaType: null, fileName: null, metadata: {} }
    const { id } = await instance.accept({ ...envelope, pipeline, content })
    let doc: RecordDocument | null = null
    await waitFor(
      async () => {
        doc = await instance.records.get(id)
        return doc !== null && doc.status !== 'processing'
      },
      { timeoutMs: 150_000, what: () => `the record to settle; it is ${JSON.stringify(doc?.snapshot)}` },
    )
    return doc as unknown as RecordDocument
  }
  /** Every record there is, as it is now. */
  const all = async () => {
    const ids = await db.db.collection<{ _id: string }>('records').distinct('_id')
    return (await Promise.all(ids.map((id) => instance.records.get(id)))).filter((doc) => doc !== null)
  }
  return { settled, all }
}

const outputOf = (doc: RecordDocument, step: string): unknown => {
  const payload = doc.steps[step]?.result?.payload
  return payload && 'inline' in payload ? JSON.parse(payload.inline) : undefined
}

describe('examples/vote.config.ts', () => {
  const { settled } = example('examples/vote.config.ts')
  const attemptsOf = (doc: RecordDocument) => Object.values(doc.steps).map(({ attempts }) => attempts.length)

  it('takes what both voters say', async () => {
    const doc = await settled('codes', { text: 'Seizures (G40.909), hypertension I10.' })
    expect(doc).toMatchObject({ status: 'completed', charges: { codes: { amount: '0.05' } } })
    expect(outputOf(doc, 'codes')).toEqual({ codes: ['G40.909', 'I10'] })
    expect(doc.steps['codes-tie']?.attempts).toEqual([])
    expect(attemptsOf(doc).every((attempts) => attempts <= 1)).toBe(true)
  })

  it('lets the tie-breaker decide, and a person where all three differ', async () => {
    const decided = await settled('codes', { text: 'Seizures G40.909 / U07.1-x' })
    expect(decided.steps['codes-tie']?.attempts).toHaveLength(1)
    const undecided = await settled('codes', { text: 'Seizures G40.909, I10/I11 and R10.9' })
    expect(undecided).toMatchObject({ status: 'investigation', charges: {} })
    expect(undecided.steps['codes']?.attempts[0]?.error?.code).toBe('no-agreement')
  })
})

describe('examples/choose.config.ts', () => {
  const { settled } = example('examples/choose.config.ts')

  it('goes the way that the letter says', async () => {
    const urgent = await settled('triage', { text: 'Patient: Ann Example\nUrgency: urgent\nDepartment: Neurology' })
    expect(urgent.status).toBe('completed')
    expect([outputOf(urgent, 'way'), outputOf(urgent, 'done')]).toEqual(['urgent', { noted: true }])
    const routine = await settled('triage', { text: 'Patient: Ann Example\nUrgency: routine' })
    expect([outputOf(routine, 'way'), outputOf(routine, 'done')]).toEqual(['otherwise', { noted: false }])
    expect(routine.steps['note']?.attempts).toEqual([])
  })
})

describe('examples/map.config.ts', () => {
  const { settled, all } = example('examples/map.config.ts')

  it('gives each letter a record of its own, and waits for all', async () => {
    const texts = ['Patient: Ann Example\nUrgency: urgent', 'Patient: Bob Example', '']
    const doc = await settled('bundle', { letters: texts })
    expect(doc.status, JSON.stringify(doc.reason)).toBe('completed')
    expect(outputOf(doc, 'summary')).toMatchObject({ letters: 3, failed: 0 })
    const children = (await all()).filter(({ pipeline }) => pipeline === 'letter')
    expect(children.map(({ metadata }) => metadata['index'] ?? '').toSorted()).toEqual(['0', '1', '2'])
    for (const child of children) {
      expect(child).toMatchObject({ source: 'clinic', status: 'completed', metadata: { parent: doc._id } })
      expect(child.key).toBe(`${doc._id}.letters.${child.metadata['index']}`)
    }
    expect(doc.steps['letters']?.attempts).toHaveLength(1)
    expect(Object.keys(doc.charges)).toEqual([])
  })

  it('of nothing is nothing, at once', async () => {
    const doc = await settled('bundle', { letters: [] })
    expect(outputOf(doc, 'summary')).toEqual({ letters: 0, fields: 0, failed: 0 })
  })
})

/** A typed page: a PDF with text of its own. */
const pdf = async (lines: readonly string[]): Promise<Uint8Array> => {
  const document = await PDFDocument.create()
  const page = document.addPage([595, 842])
  lines.forEach((line, at) => page.drawText(line, { x: 50, y: 780 - at * 24, size: 12 }))
  return document.save()
}

describe('the shipped config', () => {
  const { settled } = example('endstate.config.ts')
  const letter = (calcium: string) => [
    'Referral',
    'Patient: Ann Example',
    'Date of birth: 1958-03-14',
    'Date: 2024-05-21',
    'Urgency: routine',
    'Laboratory results:',
    `Calcium ${calcium} mg/dL (8.5 - 10.5)`,
    'Sodium 138 mmol/L (135 - 145)',
  ]

  it('lets plausible fields through, and shows a person where the others stand', { timeout: 120_000 }, async () => {
    const [right, wrong] = await Promise.all([
      settled('referral', await pdf(letter('8.4'))),
      settled('referral', await pdf(letter('84'))),
    ])
    expect(right.status, JSON.stringify(right.reason)).toBe('completed')
    expect(wrong.status).toBe('investigation')
    const { error, evidence } = wrong.steps['check']!.attempts[0]!
    expect(error).toMatchObject({ code: 'implausible', kind: 'executed' })
    expect(evidence).toMatchObject({ field: 'labValue', nth: 1, rule: 'lab-limits', page: 1 })
    expect(evidence!['box']).toMatch(/^\d+,\d+,\d+,\d+$/)
    expect(JSON.stringify([error, wrong.reason])).not.toMatch(/Calcium|84/)
    expect(wrong.steps['check']!.attempts).toHaveLength(1)
  })

  it('asks for a second opinion in two ways at once', { timeout: 180_000 }, async () => {
    const doc = await settled('second-opinion', await readFile(join(ROOT, 'samples/referral-typed.pdf')))
    const attempts = Object.entries(doc.steps).map(([step, { attempts: made }]) => [step, made.length > 0])
    expect(attempts.filter(([, made]) => made).map(([step]) => step)).toEqual(
      expect.arrayContaining(['read', 'read-sparse', 'fields-extract', 'fields-extract-sparse', 'fields']),
    )
    expect(doc.status, JSON.stringify(doc.steps['fields']?.attempts)).toBe('completed')
    expect(doc.charges).toMatchObject({ fields: { amount: '0.60' } })
  })
})
