/** Cog, the server of models packaged for Replicate, with a model of ours that counts its runs (cog-predict.py). */
import { join } from 'node:path'
import { createVenv, type Venv } from './venv.js'

const REQUIREMENTS = [
  'cog==0.23.1',
  'coglet==0.23.1',
  'PyYAML==6.0.4',
  'certifi==2026.10.19.post1',
  'charset-normalizer==3.5.2',
  'idna==3.20',
  'requests==2.34.2',
  'structlog==26.1.0',
  'typing_extensions==4.16.0',
  'urllib3==2.8.0',
]

export type CogInstallation = Venv & { predictor: string }

/** Installed once; quick when it is there. */
export async function installCog(): Promise<CogInstallation> {
  const venv = await createVenv('cog', REQUIREMENTS, { complete: true, python: { from: 10, to: 13 } })
  return { ...venv, predictor: join(import.meta.dirname, 'cog-predict.py') }
}
