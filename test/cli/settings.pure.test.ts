/** What the environment may say: defaults, shapes, and errors that name the variable, what was found and the fix. */
import { describe, expect, it } from 'vitest'
import { readSettings, requireServers, SettingsRefused, type Environment } from '../../src/config/settings.js'

const problemsOf = (run: () => unknown): readonly string[] => {
  try {
    run()
  } catch (error) {
    if (error instanceof SettingsRefused) return error.problems
    throw error
  }
  throw new Error('The settings were accepted.')
}
const problems = (environment: Environment) => problemsOf(() => readSettings(environment))

describe('settings', () => {
  it('have defaults for everything but the servers', () => {
    expect(readSettings({})).toEqual({
      roles: ['api', 'worker', 'sweeper'],
      mongo: null,
      nats: null,
      host: '127.0.0.1',
      port: 8080,
      configFile: null,
      dataDir: '.endstate',
      prefix: 'endstate',
      publicUrl: null,
      auditRate: 20,
      logLevel: 'info',
    })
  })

  it('count an empty variable as not set', () => {
    expect(readSettings({ ENDSTATE_PORT: ' ', ENDSTATE_MONGODB_URL: '' })).toMatchObject({ port: 8080, mongo: null })
  })

  it('read roles in any order, once each', () => {
    expect(readSettings({ ENDSTATE_ROLES: 'worker, api,worker' }).roles).toEqual(['worker', 'api'])
  })

  it.each([
    ['mongodb://127.0.0.1:27017/endstate', 'endstate'],
    ['mongodb://u:p%40ss@a:1,b:2/clinic?replicaSet=rs0&w=majority', 'clinic'],
    ['mongodb+srv://cluster.example.net/records', 'records'],
  ])('take the database out of %s', (url, database) => {
    expect(readSettings({ ENDSTATE_MONGODB_URL: url }).mongo).toEqual({ url, database })
  })

  it.each(['mongodb://127.0.0.1:27017', 'mongodb://127.0.0.1/', 'mongodb://127.0.0.1/?w=1', 'http://x/endstate'])(
    'refuse %s, which names no database of a MongoDB',
    (url) => expect(problems({ ENDSTATE_MONGODB_URL: url })).toHaveLength(1),
  )

  it.each(['nats://127.0.0.1:4222', 'localhost', 'tls://a:1, nats://u:p@b:2'])('take %s for NATS', (url) => {
    expect(readSettings({ ENDSTATE_NATS_URL: url, ENDSTATE_NATS_CREDENTIALS: 'a.creds' }).nats).toEqual({
      url,
      credentialsFile: 'a.creds',
    })
  })

  it('name every problem at once, with the variable, what was found and the fix', () => {
    const found = problems({
      ENDSTATE_ROLES: 'api,cook',
      ENDSTATE_PORT: '80a',
      ENDSTATE_PREFIX: 'End State',
      ENDSTATE_LOG_LEVEL: 'loud',
    })
    expect(found).toHaveLength(4)
    expect(found[0]).toMatch(/^ENDSTATE_ROLES is "api,cook"\. Write one or more of api, worker, sweeper/)
    expect(found[1]).toMatch(/^ENDSTATE_PORT is "80a"\. Write a whole number from 0/)
    expect(problems({ ENDSTATE_PORT: '65536' })).toHaveLength(1)
  })

  it('never show a password', () => {
    const [problem] = problems({ ENDSTATE_MONGODB_URL: 'mongodb://admin:hunter2/@2@db/' })
    expect(problem).toContain('//***@db')
    expect(problem).not.toContain('hunter2')
  })

  it('refuse to listen where others can reach it', () => {
    expect(problems({ ENDSTATE_HOST: '0.0.0.0' })[0]).toMatch(/no keys yet.*Listen at "127\.0\.0\.1"/)
    expect(readSettings({ ENDSTATE_HOST: 'localhost' }).host).toBe('localhost')
  })

  it('say which servers are missing, and what brings some', () => {
    const missing = problemsOf(() => requireServers(readSettings({ ENDSTATE_NATS_URL: 'nats://x' })))
    expect(missing[0]).toMatch(/^ENDSTATE_MONGODB_URL is not set\. Write the address of a replica set/)
    expect(missing.join(' ')).not.toContain('ENDSTATE_NATS_URL')
    expect(missing.at(-1)).toContain('endstate dev')
  })
})
