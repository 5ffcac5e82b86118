import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import t from 'tap'
import { removeTemporaryFiles } from '../../../services/analysis/content.ts'
import { readAnswers } from '../../../services/analysis/sandbox/answers.ts'

// A file may have taken control of a decoder, so its answers are hostile too.

const message = (value: unknown) => {
  const text = Buffer.from(typeof value === 'string' ? value : JSON.stringify(value))
  const length = Buffer.alloc(4)
  length.writeUInt32BE(text.length)
  return Buffer.concat([length, text])
}
const next = (bytes: Buffer) => readAnswers(Readable.from([bytes])).next()
const metadata = { format: 'PNG', mediaType: 'image/png', width: 3, height: 2 }

t.test('a valid answer is read', async (t) => {
  t.match(await next(message({ verdict: { status: 'ready', metadata } })), { verdict: { status: 'ready' } })
})

t.test('an invalid answer of a decoder is refused', async (t) => {
  for (const [about, value] of Object.entries({
    'no JSON': '{',
    'no object': 'null',
    'an unknown status': { verdict: { status: 'removed', metadata } },
    'no metadata': { verdict: { status: 'ready' } },
    'another media type': { verdict: { status: 'ready', metadata: { ...metadata, mediaType: 'text/html' } } },
    'a width that is text': { verdict: { status: 'ready', metadata: { ...metadata, width: '<script>' } } },
    'a latitude out of range': {
      verdict: { status: 'ready', metadata: { ...metadata, latitude: 1e9, longitude: 0 } },
    },
    'a very large variant': { rendered: { size: 2 ** 40, width: 1, height: 1 } },
  }))
    await t.rejects(next(message(value)), { name: 'InvalidAnswer' }, about)
  const long = Buffer.alloc(8)
  long.writeUInt32BE(2 ** 31)
  await t.rejects(next(long), { name: 'InvalidAnswer' }, 'a very long message')
})

t.test('an answer that is cut off is the end', async (t) => {
  t.equal(await next(message({ ready: true }).subarray(0, -1)), undefined)
})

t.test('temporary files that a killed process left are removed at the start, and no others', async (t) => {
  const old = await mkdtemp(join(tmpdir(), 'hasty-object-'))
  const fresh = await mkdtemp(join(tmpdir(), 'hasty-object-'))
  const other = join(tmpdir(), `not-of-hasty-${process.pid}`)
  await mkdir(other)
  t.teardown(() => Promise.all([old, fresh, other].map((path) => rm(path, { recursive: true, force: true }))))
  await writeFile(join(old, 'object'), 'bytes')
  for (const path of [old, other]) await utimes(path, new Date(0), new Date(0))
  await removeTemporaryFiles()
  t.notOk(existsSync(old))
  t.ok(existsSync(fresh), 'a running process may use it')
  t.ok(existsSync(other))
})
