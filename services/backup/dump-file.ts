import { randomUUID } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import type { DumpedRows } from '../../stores/data/interfaces/dump.ts'

const FORMAT = 'hasty-backup-1'

/** A backup of the database is damaged, or is not one. */
export class BadBackup extends Error {
  override name = 'BadBackup'
}

/** Writes the rows to a new temporary file: compressed lines of JSON, with a first line and a last one. */
export async function writeDump(rows: AsyncIterable<DumpedRows>): Promise<{ path: string; rows: number }> {
  const path = join(tmpdir(), `hasty-backup-${randomUUID()}`)
  let count = 0
  async function* lines() {
    yield `${JSON.stringify({ format: FORMAT })}\n`
    for await (const { table, rows: some } of rows) {
      count += some.length
      // Each row is JSON already.
      if (some.length > 0) yield `{"table":${JSON.stringify(table)},"rows":[${some.join(',')}]}\n`
    }
    yield `${JSON.stringify({ end: true, rows: count })}\n`
  }
  await pipeline(
    Readable.from(lines()),
    createGzip({ level: 1 }),
    createWriteStream(path, { mode: 0o600, flags: 'wx' }),
  )
  return { path, rows: count }
}

/** Reads the rows of a dump, in their order. @throws {BadBackup} */
export async function* readDump(compressed: Readable): AsyncGenerator<DumpedRows> {
  const lines = createInterface({
    input: compressed.pipe(createGunzip()),
    crlfDelay: Number.POSITIVE_INFINITY,
  })
  let [count, isOpen, isComplete] = [0, false, false]
  for await (const line of lines) {
    const { format, table, rows, end, rows: total } = JSON.parse(line)
    if (!isOpen && format !== FORMAT)
      throw new BadBackup('The file is not a backup that this version can read.')
    isOpen = true
    if (end) isComplete = total === count
    if (!table) continue
    count += rows.length
    yield { table, rows: rows.map((row: object) => JSON.stringify(row)) }
  }
  if (!isComplete) throw new BadBackup('The backup of the database is incomplete. Use an earlier one.')
}

export const openFile = (path: string) => createReadStream(path)
