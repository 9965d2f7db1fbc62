/** A config file as people write it, and what they are told when it is wrong. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ConfigNotLoaded, findConfig, loadConfig } from '../../src/config/load-config.js'
import { compileConfig } from '../../src/config/pipelines.js'
import { CONFIG_MODULES as library } from '../../src/cli/config-modules.js'

let dir: string
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'endstate-config-'))
})
afterAll(() => rm(dir, { recursive: true, force: true }))

const write = async (name: string, text: string): Promise<string> => {
  const path = join(dir, name)
  await writeFile(path, text)
  return path
}
const refusal = async (run: Promise<unknown>): Promise<ConfigNotLoaded> => {
  const error: unknown = await run.then(
    () => null,
    (reason: unknown) => reason,
  )
  expect(error).toBeInstanceOf(ConfigNotLoaded)
  return error as ConfigNotLoaded
}

const root = resolve(import.meta.dirname, '../..')

describe('a config file', () => {
  it.each(['endstate.config.ts', 'examples/fallback.config.ts', 'examples/machine-by-hand.config.ts'])(
    'that comes with the package is sound: %s',
    async (file) => {
      const compiled = compileConfig(await loadConfig(join(root, file), library))
      expect(compiled.all().length).toBeGreaterThan(0)
    },
  )

  it('imports this very instance of the library, and zod, without an installation beside it', async () => {
    const text =
      "import { endstate, tesseract } from 'endstate'\nimport { z } from 'zod'\n" +
      'export const parts: unknown[] = [endstate, z.string()]\n' +
      "const es = endstate({ providers: { ocr: tesseract() } })\nconst p = es.pipeline('p', { revision: 1, accepts: ['image/*'] })\n" +
      "export default es.config({ pipelines: [p.step('read', { use: ['ocr'], output: z.unknown(), deadline: '1s' })] })"
    const { endstate } = library
    const ours = {
      ...endstate,
      endstate: (parts: { providers: object }) => ({ ...endstate.endstate(parts as never), config: () => 'ours' }),
    }
    const config = await loadConfig(await write('own.config.ts', text), { endstate: ours }).catch(
      (error: unknown) => error,
    )
    expect(String(config)).toContain('is no config')
    const loaded = await loadConfig(join(dir, 'own.config.ts'), library)
    expect(loaded.pipelines[0]?.definition.steps[0]?.name).toBe('read')
  })

  it('is the given one, else that of the working directory, else the shipped one', async () => {
    await write('endstate.config.ts', '')
    expect(await findConfig(null, dir)).toBe(join(dir, 'endstate.config.ts'))
    expect(await findConfig('own.config.ts', dir)).toBe(join(dir, 'own.config.ts'))
    expect(await findConfig(null, tmpdir())).toBe(join(root, 'endstate.config.ts'))
    const { message } = await refusal(findConfig('nowhere.ts', dir))
    expect(message).toContain(join(dir, 'nowhere.ts'))
    expect(message).toContain('--config')
  })

  it('with a syntax error is refused with the line', async () => {
    const file = await write('syntax.ts', 'const a = 1\nconst b = = 2\n')
    expect(await refusal(loadConfig(file, library))).toMatchObject({ file, line: 2 })
  })

  it('that throws is refused with the line and the reason', async () => {
    const text =
      "import { endstate } from 'endstate'\n\n" +
      "endstate({ providers: {} }).pipeline('p', { revision: 1, accepts: [], maxWait: 'soon' as never })\n"
    const file = await write('throws.ts', text)
    const error = await refusal(loadConfig(file, library))
    expect(error.line).toBe(3)
    expect(error.message).toContain('The maxWait of pipeline "p" is "soon"')
  })

  it('that imports a module which is not there is refused with its name', async () => {
    const { message } = await refusal(loadConfig(await write('missing.ts', "import './nothing.js'\n"), library))
    expect(message).toContain('nothing.js')
    expect(message).toContain('Install that module')
  })

  it('that is a directory is no file', async () => {
    await expect(findConfig('.', dir)).rejects.toThrow(/There is no such file/)
  })

  it('without a default export, or with another, is refused with what to write', async () => {
    const none = await refusal(loadConfig(await write('none.ts', 'export const a = 1\n'), library))
    expect(none.message).toContain('export default es.config(')
    const other = await refusal(
      loadConfig(await write('other.ts', 'export default { providers: { a: 1 } }\n'), library),
    )
    expect(other.message).toMatch(/providers\.a: .*pipelines: .*make it with/)
  })
})
