import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { analysis } from './cases/analysis.ts'
import { cores } from './cases/cores.ts'
import { downloads } from './cases/downloads.ts'
import { growth } from './cases/growth.ts'
import { processes } from './cases/processes.ts'
import { uploads } from './cases/uploads.ts'
import { variants } from './cases/variants.ts'
import { createScope, type Effort, measure, type Result } from './harness.ts'
import { printResult, printTable } from './table.ts'

const FULL: Effort = { rounds: 5, seconds: 1, scale: 1 }
const QUICK: Effort = { rounds: 3, seconds: 1, scale: 0.125 }
// The cases that show most regressions, in less than two minutes.
const QUICK_CASES = [
  'upload-1gb',
  'upload-200kb-postgres',
  'upload-200kb-embedded',
  'upload-duplicate',
  'get-20kb',
  'get-20kb-cold',
  'get-2mb',
  'not-modified',
]
const RESULTS = new URL('./results/', import.meta.url)
const BASELINE = new URL('./baseline.json', import.meta.url)
const TOLERANCE = 0.15

const { values: options } = parseArgs({
  options: {
    only: { type: 'string', multiple: true },
    quick: { type: 'boolean', default: false },
    /** Writes the ratios of this quick run to baseline.json. */
    keep: { type: 'boolean', default: false },
  },
})
if (options.keep && !options.quick)
  throw new Error('--keep needs --quick, because baseline.json has the ratios of quick runs')
const cases = [...uploads, ...analysis, ...downloads, ...variants, ...growth, ...cores, ...processes].filter(
  ({ name }) =>
    options.only?.some((part) => name.includes(part)) ?? (!options.quick || QUICK_CASES.includes(name)),
)
if (cases.length === 0) throw new Error(`No case has a name that contains ${options.only}.`)

const results: Result[] = []
const run = createScope()
try {
  for (const benchCase of cases) {
    const result = await measure(benchCase, options.quick ? QUICK : FULL, run.scope)
    printResult(result)
    results.push(result)
  }
} finally {
  await run.end()
}
printTable(results)
writeResults(results)
if (options.quick) compare(results)
if (results.some(({ failure }) => failure)) process.exitCode = 1

function writeResults(results: Result[]) {
  mkdirSync(RESULTS, { recursive: true })
  const at = new Date().toISOString()
  const run = { at, node: process.version, processor: cpus()[0]?.model, cores: cpus().length, results }
  writeFileSync(new URL(`${at.replaceAll(':', '-')}.json`, RESULTS), `${JSON.stringify(run, null, 2)}\n`)
  if (options.keep)
    writeFileSync(BASELINE, `${JSON.stringify({ ...readKept(), ...ratiosOf(results) }, null, 2)}\n`)
}

/** Reports ratios that are worse than in baseline.json. It does not fail, because the machine may have other work. */
function compare(results: Result[]) {
  const kept = readKept()
  for (const { name, ratio, lowerIsBetter } of results) {
    const before = kept[name]
    if (before === undefined || !ratio) continue
    const change = lowerIsBetter ? before / ratio.median : ratio.median / before
    if (change < 1 - TOLERANCE) {
      console.log(`REGRESSION ${name}: the ratio was ${before.toFixed(2)} and is ${ratio.median.toFixed(2)}`)
    }
  }
}

function readKept(): Record<string, number> {
  return JSON.parse(readFileSync(BASELINE, 'utf8'))
}

function ratiosOf(results: Result[]) {
  return Object.fromEntries(results.flatMap(({ name, ratio }) => (ratio ? [[name, ratio.median]] : [])))
}
