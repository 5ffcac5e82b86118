import { createHash, randomBytes } from 'node:crypto'
import { Readable, Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createHashing } from '../../../services/uploads/hashing.ts'
import { chunksOf } from '../../helpers/chunks.ts'

const bytes = randomBytes(100_003)
const hex = (algorithm: string, data: Uint8Array = bytes) => createHash(algorithm).update(data).digest('hex')

for (const size of [1, 7, 1000, 65_536, bytes.length]) {
  t.test(`bytes pass unchanged and are hashed, in chunks of ${size}`, async (t) => {
    const inspected: Buffer[] = []
    const hashing = createHashing(['sha256', 'sha512'], (chunk) => {
      inspected.push(chunk)
      return inspected.length % 3 === 0 ? Promise.resolve() : undefined
    })
    const [passed] = await Promise.all([
      buffer(hashing.stream),
      pipeline(Readable.from(chunksOf(bytes, size)), hashing.stream),
    ])
    t.ok(bytes.equals(passed))
    t.ok(bytes.equals(Buffer.concat(inspected)))
    t.equal(hashing.size, bytes.length)
    t.equal(hashing.digest('sha256').toString('hex'), hex('sha256'))
    t.equal(hashing.digest('sha512').toString('hex'), hex('sha512'))
  })
}

t.test('an empty stream has a digest', async (t) => {
  const hashing = createHashing(['sha256'], () => undefined)
  const [passed] = await Promise.all([buffer(hashing.stream), pipeline(Readable.from([]), hashing.stream)])
  t.equal(passed.length, 0)
  t.equal(hashing.size, 0)
  t.equal(hashing.digest('sha256').toString('hex'), hex('sha256', Buffer.alloc(0)))
})

t.test('a chunk is passed on when it has been inspected, and the next one waits', async (t) => {
  const events: string[] = []
  const hashing = createHashing(['sha256'], async (chunk) => {
    events.push(`inspect ${chunk}`)
    await sleep(10)
    events.push(`inspected ${chunk}`)
  })
  const sink = new Writable({
    write(chunk, _encoding, done) {
      events.push(`passed ${chunk}`)
      done()
    },
  })
  await pipeline(Readable.from([Buffer.from('a'), Buffer.from('b')]), hashing.stream, sink)
  const orderOf = (chunk: string) => events.filter((event) => event.endsWith(chunk))
  for (const chunk of ['a', 'b']) {
    t.strictSame(orderOf(chunk), [`inspect ${chunk}`, `inspected ${chunk}`, `passed ${chunk}`])
  }
  t.ok(events.indexOf('inspected a') < events.indexOf('inspect b'))
})

t.test('if the inspection fails, the stream fails with its error', async (t) => {
  const passed: Buffer[] = []
  let pulled = 0
  const source = Readable.from(
    (function* () {
      for (; pulled < 1000; pulled++) yield Buffer.alloc(10_000, pulled)
    })(),
  )
  const hashing = createHashing(['sha256'], async (chunk) => {
    if (chunk[0] === 3) throw new Error('not this one')
  })
  const sink = new Writable({
    write(chunk, _encoding, done) {
      passed.push(chunk)
      done()
    },
  })
  await t.rejects(pipeline(source, hashing.stream, sink), { message: 'not this one' })
  t.ok(passed.every((chunk) => chunk[0]! < 3))
  t.ok(pulled < 100, 'and no more is read')
})
