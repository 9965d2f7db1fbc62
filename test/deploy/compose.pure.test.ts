/** docker-compose.yml and deploy/Dockerfile, without a container engine: valid, and in agreement with the project. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Ajv2019 } from 'ajv/dist/2019.js'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { readSettings } from '../../src/config/settings.js'
import { composeFile, dependenciesOf, readCompose, ROOT } from './compose-file.js'

const SCHEMA = join(import.meta.dirname, '../fixtures/compose-spec.json')

/** The schema names itself by `id`, as drafts before 6 did, and its draft by an address that is none. */
const withoutNames = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(withoutNames)
  if (typeof value !== 'object' || value === null) return value
  const kept = Object.entries(value).filter(
    ([name, content]) => typeof content !== 'string' || (name !== 'id' && name !== '$schema'),
  )
  return Object.fromEntries(kept.map(([name, content]) => [name, withoutNames(content)]))
}

const validator = () => {
  const schema = z.looseObject({}).parse(withoutNames(JSON.parse(readFileSync(SCHEMA, 'utf8'))))
  return new Ajv2019({ strict: false, validateFormats: false }).compile(schema)
}

describe('docker-compose.yml', () => {
  it('follows the Compose Specification', () => {
    const validate = validator()
    validate(readCompose())
    expect(validate.errors).toBeNull()
  })

  it('would be refused with a misspelt word', () => {
    const compose = z.looseObject({ services: z.record(z.string(), z.looseObject({})) }).parse(readCompose())
    compose.services['worker'] = { ...compose.services['worker'], depend_on: ['mongo1'] }
    expect(validator()(compose)).toBe(false)
  })

  it('names only services and volumes that it has', () => {
    const { services, volumes } = composeFile()
    for (const service of Object.values(services)) {
      expect(Object.keys(services)).toEqual(expect.arrayContaining(dependenciesOf(service)))
      for (const volume of service.volumes) expect(Object.keys(volumes)).toContain(volume.split(':')[0])
    }
  })

  it('gives each role settings that the service accepts, all on one database and one bus', () => {
    const settings = ['api', 'worker', 'sweeper'].map((name) =>
      readSettings(composeFile().services[name]?.environment ?? {}),
    )
    expect(settings.map(({ roles }) => roles)).toEqual([['api'], ['worker'], ['sweeper']])
    for (const one of settings) expect([one.mongo, one.nats]).toEqual([settings[0]?.mongo, settings[0]?.nats])
    expect(settings[0]?.mongo?.url.match(/mongo\d:27017/g)).toHaveLength(3)
    expect(settings[0]?.nats?.url.split(',')).toHaveLength(3)
  })

  it('publishes ports to this machine’s loopback only', () => {
    const ports = Object.values(composeFile().services).flatMap((service) => service.ports)
    expect(ports.length).toBeGreaterThan(0)
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:/)
  })
})

describe('deploy/Dockerfile', () => {
  const lines = readFileSync(join(ROOT, 'deploy/Dockerfile'), 'utf8').split('\n')

  it('copies what is there', () => {
    const sources = lines
      .filter((line) => line.startsWith('COPY ') && !line.includes('--from='))
      .flatMap((line) => line.split(' ').slice(1, -1))
    expect(sources.length).toBeGreaterThan(5)
    expect(sources.filter((source) => !existsSync(join(ROOT, source)))).toEqual([])
  })

  it('runs the service as another user than root', () => {
    const user = lines.findLastIndex((line) => line.startsWith('USER '))
    expect(lines[user]).toBe('USER node')
    expect(user).toBeGreaterThan(lines.findLastIndex((line) => line.startsWith('FROM ')))
    expect(lines.findLast((line) => line.startsWith('CMD '))).toBe('CMD ["node", "dist/main.js"]')
  })
})
