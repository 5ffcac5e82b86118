import { stripVTControlCharacters, styleText } from 'node:util'
import stringWidth from 'string-width'

/** The exit codes (docs/command-line.md). */
export const EXIT = { done: 0, failed: 1, usage: 2, unreachable: 3, forbidden: 4, partly: 5 } as const

/** A command failed. The message says what is wrong and what to do. */
export class CommandError extends Error {
  override name = 'CommandError'
  readonly exitCode: number

  constructor(message: string, exitCode: number = EXIT.failed) {
    super(message)
    this.exitCode = exitCode
  }
}

export interface Options {
  /** JSON instead of text, also in a terminal. */
  json: boolean
}

/** Whether a person reads the output. */
export const isForPeople = ({ json }: Options) => !json && process.stdout.isTTY === true

/** Prints a result: as text in a terminal, otherwise as JSON. */
export function print(options: Options, result: unknown, text: () => string): void {
  process.stdout.write(`${isForPeople(options) ? printable(text()) : toJson(result)}\n`)
}

/** Prints a message for a person that is not a part of the result. */
export const note = (text: string) => process.stderr.write(`${printable(text)}\n`)

/** Colours a text. It does nothing if the output is not a terminal, or if NO_COLOR is set. */
export const style = (format: Parameters<typeof styleText>[0], text: string) =>
  styleText(format, text, { stream: process.stdout })

// Also the marks that change the direction of a text: with them, one name can look like another one.
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu
// Line ends, tabs and colours are kept: this program prints them (ECMA-48 §8.3.117).
const UNSAFE_IN_OUTPUT = new RegExp(`(\\n|\\t|\\x1b\\[[\\d;]*m)|${UNSAFE.source}`, 'gu')

/** The output of a command without control characters, except line ends, tabs and colours. */
const printable = (text: string) => text.replace(UNSAFE_IN_OUTPUT, (_, own = '·') => own)

/** JSON with all control characters and direction marks escaped. `JSON.stringify` escapes only those below U+0020. */
const toJson = (value: unknown) =>
  JSON.stringify(value, null, 2).replace(UNSAFE, (each) =>
    each === '\n' ? each : `\\u${each.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )

/** A text from outside, on one line, without control characters and direction marks. */
export const clean = (text: string) => stripVTControlCharacters(text).replace(UNSAFE, '·')

const MIN_WIDTH = 8

/** The columns of the terminal. */
export const terminalWidth = () => process.stdout.columns || 100

/**
 * Draws a table that fits into the terminal. If there is no room, the last columns of `shrink` are cut.
 *
 * @param shrink the names of the columns that may be cut, the most important one first
 */
export function table(columns: string[], rows: string[][], shrink: string[] = []): string {
  const cells = rows.map((row) => row.map(clean))
  const widths = columns.map((name, n) =>
    Math.max(stringWidth(name), ...cells.map((row) => stringWidth(row[n] ?? ''))),
  )
  const gaps = 2 * (columns.length - 1)
  let excess = widths.reduce((sum, width) => sum + width, gaps) - terminalWidth()
  for (const name of shrink.toReversed()) {
    if (excess <= 0) break
    const n = columns.indexOf(name)
    const cut = Math.max(0, Math.min(excess, widths[n]! - MIN_WIDTH))
    widths[n]! -= cut
    excess -= cut
  }
  const line = (row: string[]) =>
    row
      .map((cell, n) => (n === row.length - 1 ? fit(cell, widths[n]!).trimEnd() : fit(cell, widths[n]!)))
      .join('  ')
  return [style('dim', line(columns)), ...cells.map(line)].join('\n')
}

/** Cuts or fills a text to a width. */
function fit(text: string, width: number) {
  if (stringWidth(text) <= width) return text + ' '.repeat(width - stringWidth(text))
  let cut = ''
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    if (stringWidth(cut + segment) > width - 1) break
    cut += segment
  }
  return `${cut}…${' '.repeat(width - stringWidth(cut) - 1)}`
}

/** Draws a list of names and values. */
export function pairs(entries: [string, string | undefined][]): string {
  const shown = entries.filter((entry): entry is [string, string] => entry[1] !== undefined)
  const width = Math.max(...shown.map(([name]) => name.length))
  return shown.map(([name, value]) => `${style('dim', name.padEnd(width))}  ${clean(value)}`).join('\n')
}

/** Draws horizontal bars. */
export function bars(entries: [string, number][]): string {
  const most = Math.max(...entries.map(([, value]) => value), 1)
  const labels = Math.min(24, Math.max(...entries.map(([name]) => stringWidth(clean(name))), 1))
  const numbers = Math.max(...entries.map(([, value]) => count(value).length), 1)
  const room = Math.max(4, Math.min(60, terminalWidth() - labels - numbers - 4))
  return entries
    .map(([name, value]) => {
      const length = value === 0 ? 0 : Math.max(1, Math.round((value / most) * room))
      return `${fit(clean(name), labels)}  ${count(value).padStart(numbers)}  ${style('cyan', '█'.repeat(length))}`
    })
    .join('\n')
}

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** Bytes in words: 1.5 MiB. */
export function bytes(size: number): string {
  const unit = Math.min(UNITS.length - 1, size < 1 ? 0 : Math.floor(Math.log2(size) / 10))
  const value = size / 2 ** (10 * unit)
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit]}`
}

export const count = (value: number) => value.toLocaleString('en')

/** `1 image`, `2 images`. */
export const plural = (value: number, one: string, many = `${one}s`) =>
  `${count(value)} ${value === 1 ? one : many}`

/** A time in the local time zone: 2026-11-28 01:20. */
export function time(iso: string): string {
  const date = new Date(iso)
  const two = (value: number) => String(value).padStart(2, '0')
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`
}

/** Shows progress on one line of the terminal, at most ten times a second. Without a terminal it shows nothing. */
export function createProgress() {
  const { stderr } = process
  let shownAt = 0
  return {
    show(text: string) {
      if (!stderr.isTTY || performance.now() - shownAt < 100) return
      shownAt = performance.now()
      stderr.write(`\r${fit(text, (stderr.columns || 80) - 1)}`)
    },
    end() {
      if (stderr.isTTY) stderr.write(`\r${' '.repeat((stderr.columns || 80) - 1)}\r`)
    },
  }
}

/** Asks a question in the terminal. @throws {CommandError} if there is no terminal */
export async function confirm(question: string, yes: boolean): Promise<void> {
  if (yes) return
  if (!process.stdin.isTTY || !process.stderr.isTTY)
    throw new CommandError(`${question} Add --yes to confirm.`, EXIT.usage)
  const { createInterface } = await import('node:readline/promises')
  const terminal = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await terminal.question(`${question} Type yes to confirm: `)
  terminal.close()
  if (answer.trim() !== 'yes') throw new CommandError('Nothing was changed.')
}
