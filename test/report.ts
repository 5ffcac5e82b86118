// node test/report.ts FILES: reads outputs of `npm test -- --reporter=tap`, and prints the tests that failed or were skipped
// by name, and the slowest test files. `.ci/run` prints it last, because often only the end of an output is kept.
import { readFileSync } from 'node:fs'

const SLOWEST = 15
const MAX_LINE = 250
/** Each level of subtests is indented by this many spaces. */
const INDENT = 4

const failed: string[] = []
const skipped: string[] = []
const files: { name: string; seconds: number }[] = []

for (const path of process.argv.slice(2)) readTap(readFileSync(path, 'utf8'))
files.sort((a, b) => b.seconds - a.seconds)

print('Failed', failed)
print('Skipped', skipped)
print(
  `The slowest ${SLOWEST} files`,
  files.slice(0, SLOWEST).map(({ name, seconds }) => `${seconds.toFixed(0).padStart(4)} s  ${name}`),
)

function readTap(text: string) {
  const titles: string[] = []
  /** Whether a test of a level failed since the last test of the level above. */
  const hasFailed: boolean[] = []
  for (const line of text.split('\n')) {
    const [, titleIndent, title] = /^( *)# Subtest: (.*)$/.exec(line) ?? []
    if (title !== undefined) titles[titleIndent!.length / INDENT] = title

    const [, indent, not, result] = /^( *)(not )?ok \d+ - (.*)$/.exec(line) ?? []
    if (result === undefined) continue
    const level = indent!.length / INDENT
    const [name = '', directive = ''] = result.split(/ # (?=SKIP|time=)/)
    const path = [...titles.slice(0, level), name].join(' > ')
    if (directive.startsWith('SKIP')) skipped.push(`${path}:${directive.slice('SKIP'.length)}`)
    // A test that contains failed ones has failed too, and is not named again.
    if (not && !hasFailed[level + 1]) failed.push(path)
    hasFailed[level + 1] = false
    if (not) hasFailed[level] = true
    const [, milliseconds] = /time=([\d.]+)ms/.exec(directive) ?? []
    if (level === 0 && milliseconds) files.push({ name, seconds: Number(milliseconds) / 1000 })
  }
}

function print(title: string, lines: string[]) {
  console.log(`${title}: ${lines.length === 0 ? 'none' : ''}`)
  for (const line of lines) console.log(`  ${line.slice(0, MAX_LINE)}`)
}
