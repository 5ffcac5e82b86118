import { globSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type AnyNode, type Program, parse } from 'acorn'
import { full } from 'acorn-walk'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** A TypeScript file of the service. */
export interface Source {
  /** From the repository's root. */
  path: string
  program: Program
  /** Its imports, including types: a path from the root, or the name of a package. */
  imports: string[]
}

/** Parses the sources that the patterns name, from the repository's root. */
export const readSources = (...patterns: string[]): Source[] =>
  globSync(patterns, { cwd: ROOT })
    .sort()
    .map((path) => {
      const program = parseTypeScript(readFileSync(join(ROOT, path), 'utf8'))
      return { path, program, imports: importsOf(program).map((name) => resolveImport(path, name)) }
    })

/** The syntax tree of TypeScript without its types. An import of types stays, as an import of values. */
const parseTypeScript = (source: string) =>
  parse(stripTypeScriptTypes(source.replace(/^(import|export) type(?= [{*])/gm, '$1     ')), {
    ecmaVersion: 'latest',
    sourceType: 'module',
    locations: true,
  })

function importsOf(program: Program) {
  const found = new Set<string>()
  full(program, (node) => {
    const { type, source } = node as AnyNode & { source?: { value?: unknown } }
    const imports = [
      'ImportDeclaration',
      'ExportNamedDeclaration',
      'ExportAllDeclaration',
      'ImportExpression',
    ]
    if (imports.includes(type) && typeof source?.value === 'string') found.add(source.value)
  })
  return [...found]
}

function resolveImport(from: string, name: string) {
  if (name.startsWith('.')) return join(dirname(from), name)
  const [scopeOrName = '', rest] = name.split('/')
  return name.startsWith('@') ? `${scopeOrName}/${rest}` : scopeOrName
}
