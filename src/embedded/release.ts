/**
 * nats-server from its own release page. The archive is checked against the SHA256SUMS published beside it,
 * because its hash can't be known before: that proves a whole file, not its origin, which HTTPS vouches for.
 */
import { mkdtemp, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { NATS_RELEASE, thisPlatform } from './artefacts.js'
import { fetchFile, fetchText } from './download.js'
import { extractEntry } from './zip.js'

/** Puts the release's binary at `target`, there only when whole. Throws with what was missing. */
export async function unpackNatsRelease(target: string, baseUrl = NATS_RELEASE.baseUrl): Promise<void> {
  const platform = NATS_RELEASE.platforms[thisPlatform()]
  if (platform === undefined) throw new Error(`there is no release for ${thisPlatform()}`)
  const name = `nats-server-v${NATS_RELEASE.version}-${platform}.zip`
  const sums = await fetchText(`${baseUrl}/SHA256SUMS`)
  const line = sums.split('\n').find((one) => one.trim().endsWith(name))
  const sha256 = line?.trim().split(/\s+/)[0]
  if (sha256 === undefined || !/^[0-9a-f]{64}$/.test(sha256))
    throw new Error(`${baseUrl}/SHA256SUMS does not list ${name}`)
  const work = await mkdtemp(`${target}-`)
  try {
    const archive = join(work, name)
    await fetchFile(`${baseUrl}/${name}`, archive, sha256)
    const unpacked = join(work, 'binary')
    await extractEntry(archive, '/nats-server', unpacked, 0o755)
    await rename(unpacked, target)
  } finally {
    await rm(work, { recursive: true, force: true })
  }
}
