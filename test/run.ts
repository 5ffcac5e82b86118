// node test/run.ts TIER [FILES AND OPTIONS OF TAP]: runs a tier of the tests, as CONTRIBUTING.md describes. It selects the
// tier's files, lets many of them share a process, and starts one PostgreSQL for all of them.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { join } from 'node:path'
import { findTemplate } from './helpers/embedded.ts'
import { findPostgres, runPostgres } from './helpers/postgres.ts'
import type { Tier } from './helpers/tiers.ts'

// A file of another name belongs to the tier if it has such a call.
const MARKS = { engines: /\b(eachDatabase|inTier\.engines)\(/, campaign: /\b(times|inTier\.campaign)\(/ }

/** The most test files in one process: so few that all processes end at about the same time. Those of the campaign are long. */
const MOST_SHARED = { default: 8, engines: 8, campaign: 1 }
// They change the process or the root test, or need a process without other work.
const ALONE = /^test\/(faults|process|[^/]+$)|\.(engines|campaign)\.test\.ts$/
const SETS_ROOT = /^t\.(beforeEach|jobs|setTimeout)\b/m

const [tier, ...rest] = process.argv.slice(2) as [Tier, ...string[]]
/** Where the files are that import the test files of one process. */
const shared = join('build/tests', tier)

function filesOfTier() {
  const all = globSync('test/**/*.test.ts').sort()
  const plain = all.filter((file) => !/\.(engines|campaign)\.test\.ts$/.test(file))
  if (tier === 'default') return plain
  const marked = plain.filter((file) => MARKS[tier].test(read(file)))
  return [...all.filter((file) => file.endsWith(`.${tier}.test.ts`)), ...marked]
}

/**
 * Lets the files of a folder share processes. The start of a process, with the modules of the service, takes more CPU time
 * than most files need for their tests. tap begins with the shared ones, because it sorts by name.
 */
function share(files: string[]) {
  rmSync(shared, { recursive: true, force: true })
  mkdirSync(shared, { recursive: true })
  const isAlone = (file: string) => ALONE.test(file) || SETS_ROOT.test(read(file))
  const folders = Map.groupBy(
    files.filter((file) => !isAlone(file)),
    (file) => file.split('/')[1]!,
  )
  const importing = [...folders].flatMap(([folder, members]) => {
    const processes = Math.ceil(members.length / MOST_SHARED[tier])
    return Array.from({ length: processes }, (_, n) => {
      const path = join(shared, `${folder}-${n + 1}.test.ts`)
      const own = members.filter((_, index) => index % processes === n)
      writeFileSync(path, load(own))
      return path
    })
  })
  return [...importing, ...files.filter(isAlone)]
}

/** The source of a file that defines the tests of all files before it runs any: tap ends when no test is left. */
const load = (files: string[]) =>
  `import t from 'tap'
void t.test('the test files are loaded', async (t) => {
${files.map((file) => `  t.ok(await import('../../../${file}'), '${file}')\n`).join('')}})
`

const read = (file: string) => readFileSync(file, 'utf8')

/** Otherwise all first processes in a new clone would create the same database and compile the same modules. */
async function prepare() {
  await import('./helpers/app.ts')
  await findTemplate()
  flushCompileCache()
}

const bin = tier === 'default' ? undefined : findPostgres()
const postgres = bin ? await runPostgres(bin, { fsync: 'off', max_connections: 400 }) : undefined
const files = rest.some((argument) => argument.endsWith('.ts')) ? [] : share(filesOfTier())
await prepare()
const tap = spawn('tap', [`--test-arg=${tier}`, ...rest, ...files], {
  stdio: 'inherit',
  env: { ...process.env, ...(postgres && { TEST_POSTGRES_URL: postgres.url }) },
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tap.kill(signal))
const [code] = await once(tap, 'exit')
await postgres?.remove()
process.exitCode = code ?? 1
