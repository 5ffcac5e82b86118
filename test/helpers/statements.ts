import { globSync, readFileSync } from 'node:fs'
import { stripTypeScriptTypes } from 'node:module'
import { fileURLToPath } from 'node:url'
import { type Expression, parse, type TaggedTemplateExpression, type TemplateLiteral } from 'acorn'
import { fullAncestor } from 'acorn-walk'

/** A statement or a part of one in the sources. */
export interface Statement {
  /** File and line, to find it by. */
  at: string
  /**
   * On one line, in small letters, without comments and without what is in quotes. A value is `$1`, and what a helper of
   * postgres.js makes (columns, rows) is `helper`.
   */
  text: string
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Reads every statement in the files that the patterns name, from the repository's root. */
export function readStatements(...patterns: string[]): Statement[] {
  return globSync(patterns, { cwd: ROOT })
    .sort()
    .flatMap((file) => {
      const source = readFileSync(ROOT + file, 'utf8')
      return file.endsWith('.sql') ? statementsOfSql(source, file) : statementsOfTypeScript(source, file)
    })
}

/** The statements of a file of SQL. */
export function statementsOfSql(source: string, file: string): Statement[] {
  // What is in quotes may have a semicolon, so it goes first; lines stay, to be counted.
  let line = 1
  return withoutQuoted(source)
    .split(';')
    .flatMap((text) => {
      const at = `${file}:${line + leadingLines(text)}`
      line += text.split('\n').length - 1
      return text.trim() ? [{ at, text: normal(text) }] : []
    })
}

/**
 * The SQL of a TypeScript file: each template that is tagged `sql`, with the templates within it in their places, and each
 * string that is given to `unsafe`.
 */
export function statementsOfTypeScript(source: string, file: string): Statement[] {
  const program = parse(stripTypeScriptTypes(source), {
    ecmaVersion: 'latest',
    sourceType: 'module',
    locations: true,
  })
  const found: Statement[] = []
  fullAncestor(program, (node, _state, ancestors) => {
    const at = `${file}:${node.loc!.start.line}`
    if (isSql(node) && !ancestors.slice(0, -1).some(isSql))
      found.push({ at, text: normal(render(node.quasi)) })
    if (node.type !== 'CallExpression') return
    const { callee, arguments: given } = node as unknown as { callee: Expression; arguments: Expression[] }
    if (callee.type !== 'MemberExpression' || callee.property.type !== 'Identifier') return
    if (callee.property.name !== 'unsafe') return
    const [text] = given
    if (text?.type === 'Literal') found.push({ at, text: normal(String(text.value)) })
    if (text?.type === 'TemplateLiteral') found.push({ at, text: normal(render(text)) })
  })
  return found.filter(({ text }) => text !== '')
}

const isSql = (node: { type: string }): node is TaggedTemplateExpression =>
  node.type === 'TaggedTemplateExpression' && isNamed((node as TaggedTemplateExpression).tag, 'sql')

const isNamed = (node: Expression | { type: string }, name: string) =>
  node.type === 'Identifier' && (node as { name: string }).name === name

function render({ quasis, expressions }: TemplateLiteral): string {
  return quasis
    .map(({ value }, n) => value.cooked + (expressions[n] ? renderValue(expressions[n]) : ''))
    .join('')
}

function renderValue(value: Expression): string {
  if (isSql(value)) return render(value.quasi)
  if (value.type === 'ConditionalExpression' && [value.consequent, value.alternate].some(isSql))
    return `${renderValue(value.consequent)} ${renderValue(value.alternate)}`
  if (value.type === 'CallExpression' && isNamed(value.callee, 'sql')) return 'helper'
  return '$1'
}

/** Without comments, and with nothing between the quotes of a string; names in quotes stay. */
const withoutQuoted = (sql: string) =>
  sql.replace(/--.*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'|"(?:[^"]|"")*"/g, (found) => {
    if (found.startsWith('"')) return found
    return (found.startsWith("'") ? "''" : '') + newlines(found)
  })

const newlines = (text: string) => '\n'.repeat(text.split('\n').length - 1)
const leadingLines = (text: string) => /^\s*/.exec(text)![0].split('\n').length - 1

const normal = (sql: string) => withoutQuoted(sql).replace(/\s+/g, ' ').trim().toLowerCase()
