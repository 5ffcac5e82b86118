import t from 'tap'
import { rules } from '../../helpers/cockroach-rules.ts'
import { readStatements, statementsOfSql, statementsOfTypeScript } from '../../helpers/statements.ts'

const asRead = (sql: string) => statementsOfSql(sql, 'sample.sql').map(({ text }) => text)
const findings = (text: string) => rules.filter(({ pattern }) => pattern.test(text))

t.test('CockroachDB supports every statement of the data store and of the migrations', async (t) => {
  const statements = readStatements('stores/data/*.ts', 'migrations/*.sql')
  t.ok(statements.length > 30, `${statements.length} statements were read`)
  const kinds = new Set(statements.map(({ text }) => text.split(' ')[0]))
  for (const kind of ['select', 'insert', 'update', 'delete', 'create']) t.ok(kinds.has(kind), kind)

  for (const { at, text } of statements) {
    const found = findings(text).map(({ what, source }) => `${what} (${source})`)
    t.strictSame(found, [], `${at}: ${text}`)
  }
})

for (const { what, pattern, source, finds, passes = [] } of rules) {
  t.test(`the rule for ${what}`, async (t) => {
    t.match(source, /^https:\/\//)
    for (const sql of finds) {
      t.ok(
        asRead(sql).some((text) => pattern.test(text)),
        `finds: ${sql}`,
      )
      const code = `sql\`${sql.replaceAll('$1', `\${value}`)}\``
      t.ok(
        statementsOfTypeScript(code, 'sample.ts').some(({ text }) => pattern.test(text)),
        `finds in TypeScript: ${code}`,
      )
    }
    for (const sql of passes) t.strictSame(asRead(sql).flatMap(findings), [], `passes: ${sql}`)
  })
}

t.test('all statements in SQL files are found', async (t) => {
  const sql = `-- a comment; listen
create table a (
  b text default 'x;''notify', /* lock
  table */ "For Key Share" int
);

 select 1 ; ;
`
  t.strictSame(statementsOfSql(sql, 'a.sql'), [
    { at: 'a.sql:2', text: `create table a ( b text default '', "for key share" int )` },
    { at: 'a.sql:7', text: 'select 1' },
  ])
})

t.test('all statements in TypeScript files are found', async (t) => {
  const code = `
// sql\`listen a\`
const text = "sql\`listen b\`"
const regular = /sql\`listen c\`/
const list = await sql<{ id: string; deep: Array<Record<string, number>> }[]>\`
  select \${sql(columns)} from images -- all
  where \${beyond(sql, 'at', request)}
    \${status ? sql\`and status = \${status as string}\` : sql\`\`}
    and name <> 'it''s; -- a name'\`
const plain = \`listen d\`
await sql.unsafe('lock table images')
await sql.unsafe(\`lock table \${name}\`)
await sql.unsafe(query)
await transaction(sql, async (sql) => sql\`delete from images where id = \${id}\`)
`
  t.strictSame(statementsOfTypeScript(code, 'a.ts'), [
    { at: 'a.ts:5', text: "select helper from images where $1 and status = $1 and name <> ''" },
    { at: 'a.ts:11', text: 'lock table images' },
    { at: 'a.ts:12', text: 'lock table $1' },
    { at: 'a.ts:14', text: 'delete from images where id = $1' },
  ])
})
