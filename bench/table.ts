import type { Result, Summary } from './harness.ts'

const HEADINGS = ['case', 'unit', 'baseline', 'Hasty', 'ratio', 'goal', '']

/** Prints the result of a case in one line. */
export function printResult(result: Result) {
  console.log(rowOf(result).filter(Boolean).join(' | '))
}

/** Prints all results as a Markdown table. */
export function printTable(results: Result[]) {
  const rows = [HEADINGS, ...results.map(rowOf)]
  const widths = HEADINGS.map((_, column) => Math.max(3, ...rows.map((row) => row[column]!.length)))
  const line = (cells: string[]) => `| ${cells.map((cell, n) => cell.padEnd(widths[n]!)).join(' | ')} |`
  const [headings, ...body] = rows.map(line)
  console.log(`\n${headings}\n${line(widths.map((width) => '-'.repeat(width)))}\n${body.join('\n')}`)
}

function rowOf({ title, unit, baseline, hasty, ratio, goal, met, skipped, failure }: Result) {
  if (failure) return [title, unit, '', '', '', goal, `FAILED: ${failure.split('\n')[0]}`]
  if (skipped) return [title, unit, '', '', '', goal, `skipped: ${skipped}`]
  return [title, unit, show(baseline), show(hasty), show(ratio, 2), goal, met ? 'met' : 'missed']
}

/** The median and the spread, for example `1,200 ±3 %`. */
function show(summary: Summary | undefined, digits?: number) {
  if (!summary) return ''
  const { median, spread } = summary
  const figure = median.toLocaleString('en-US', {
    maximumFractionDigits: digits ?? (median < 10 ? 2 : median < 100 ? 1 : 0),
  })
  return `${figure} ±${Math.round(spread * 100)} %`
}
