// node test/run.ts TIER [FILES AND OPTIONS OF TAP]: runs a tier of the tests, as CONTRIBUTING.md describes. It selects the
// tier's files, and starts one PostgreSQL for all of them.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { globSync, readFileSync } from 'node:fs'
import { findPostgres, runPostgres } from './helpers/postgres.ts'

// A test file with such a call belongs to the tier, whatever its name is.
const MARKS = { engines: /\b(eachDatabase|inTier\.engines)\(/, campaign: /\b(times|inTier\.campaign)\(/ }

const [tier, ...rest] = process.argv.slice(2) as [keyof typeof MARKS, ...string[]]

/** tap runs them in the order of their names. */
function filesOfTier() {
  return globSync('test/**/*.test.ts').filter(
    (file) =>
      file.endsWith(`.${tier}.test.ts`) || (isPlain(file) && MARKS[tier].test(readFileSync(file, 'utf8'))),
  )
}

const isPlain = (file: string) => !/\.(engines|campaign)\.test\.ts$/.test(file)

const bin = findPostgres()
const postgres = bin ? await runPostgres(bin, { fsync: 'off', max_connections: 400 }) : undefined
const files = rest.some((argument) => argument.endsWith('.ts')) ? [] : filesOfTier()
const tap = spawn('tap', [`--test-arg=${tier}`, ...rest, ...files], {
  stdio: 'inherit',
  env: { ...process.env, ...(postgres && { TEST_POSTGRES_URL: postgres.url }) },
})
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => tap.kill(signal))
const [code] = await once(tap, 'exit')
await postgres?.remove()
process.exitCode = code ?? 1
