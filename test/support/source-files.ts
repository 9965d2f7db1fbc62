/**
 * The TypeScript files below a folder, with what each imports. Read by pattern and not by a parser, because the native
 * compiler has no API; prettier keeps the statements in the one shape that the pattern knows.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, normalize } from 'node:path'

export type Import = {
  /** As written. */
  specifier: string
  /** For relative ones: the path from the folder, without ending (`ingest/contract`). */
  file: string | null
}
export type SourceFile = { path: string; text: string; code: string; imports: Import[] }

// `import x from 'y'`, `export … from 'y'`, `import 'y'` at the beginning of a line, and `import('y')` anywhere.
const STATEMENT = /^(?:import|export) [^'";]*?from '([^']+)'/gm
const SIDE_EFFECT = /^import\s+'([^']+)'/gm
const DYNAMIC = /\b(?:import|require)\(\s*'([^']+)'/g
// A thread or a child's script.
const BESIDE = /\bnew URL\(\s*'(\.[^']+)',\s*import\.meta\.url/g

export function readSourceFiles(root: string): SourceFile[] {
  const paths = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter((path) => /\.m?tsx?$/.test(path))
  return paths.sort().map((path) => {
    const text = readFileSync(join(root, path), 'utf8')
    const code = withoutComments(text)
    return { path, text, code, imports: importsOf(path, code) }
  })
}

function importsOf(path: string, code: string): Import[] {
  const imports: Import[] = []
  const add = (specifier = '') => {
    const file = specifier.startsWith('.')
      ? normalize(join(dirname(path), specifier)).replace(/\.(js|ts|mjs)$/, '')
      : null
    imports.push({ specifier, file })
  }
  for (const pattern of [STATEMENT, SIDE_EFFECT, DYNAMIC, BESIDE]) {
    for (const [, specifier] of code.matchAll(pattern)) add(specifier)
  }
  return imports
}

/** Block comments and whole-line comments; a `//` after code stays, since it may be inside a string. */
const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, '')
