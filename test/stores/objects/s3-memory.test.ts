import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { createMemoryBudget, PART_BYTES } from '../../../stores/objects/s3/memory.ts'
import { inParts } from '../../../stores/objects/s3/parts.ts'

const MIB = 2 ** 20

/** A source of these bytes, in chunks of 64 KiB. */
const sourceOf = (bytes: Buffer) =>
  Readable.from(
    Array.from({ length: Math.ceil(bytes.length / 65_536) }, (_, n) =>
      bytes.subarray(n * 65_536, (n + 1) * 65_536),
    ),
  )

t.test('parts are complete, in memory and from a temporary file', async (t) => {
  const bytes = randomBytes(3 * PART_BYTES + 12_345)
  for (const receiving of [0, MIB, 10 * MIB, 128 * MIB]) {
    for (const size of [0, 1, 65_536, PART_BYTES - 1, PART_BYTES, PART_BYTES + 1, bytes.length]) {
      const budget = createMemoryBudget({ receiving })
      const memory = budget.open()
      const sent: Buffer[] = []
      const numbers: number[] = []
      const parts = inParts(sourceOf(bytes.subarray(0, size)), memory)
      for (let next = await parts.next(); !next.done; next = await parts.next(next.value.bytes)) {
        sent.push(Buffer.from(next.value.bytes))
        numbers.push(next.value.number)
      }
      const what = `${size} bytes with a budget of ${receiving / MIB} MiB`
      t.ok(bytes.subarray(0, size).equals(Buffer.concat(sent)), what)
      t.strictSame(
        numbers,
        Array.from({ length: Math.max(1, Math.ceil(size / PART_BYTES)) }, (_, n) => n + 1),
      )
      memory.close()
      t.equal(budget.reserved, 0, 'all memory is returned')
    }
  }
})

t.test('60 stalled uploads keep no more memory than the budget', async (t) => {
  const budget = createMemoryBudget()
  const stalled = Array.from({ length: 60 }, () => {
    const source = new Readable({ read() {} })
    for (let n = 0; n < 120; n++) source.push(Buffer.alloc(65_536)) // 7.5 MiB, and no end
    const memory = budget.open()
    const parts = inParts(source, memory)
    const first = parts.next()
    first.catch(() => {})
    return { source, memory, first, parts }
  })
  while (stalled.some(({ source }) => source.readableLength > 0)) await sleep(20)
  t.ok(budget.reserved <= 128 * MIB, `${budget.reserved / MIB} MiB of 450 MiB are in memory`)
  for (const { source, memory, first } of stalled) {
    source.destroy(new Error('the client has gone'))
    await t.rejects(first, { message: 'the client has gone' })
    memory.close()
  }
  t.equal(budget.reserved, 0)
})

t.test('the buffers of an upload that has ended are used by the next one, and never by two', async (t) => {
  const budget = createMemoryBudget()
  const [first, second] = [budget.open(), budget.open()]
  const parts = [first.takePart(), first.takePart()]
  t.notOk(parts.includes(second.takePart()), 'they are in use')
  first.releaseParts()
  first.close()
  const again = [second.takePart(), second.takePart(), second.takePart()]
  t.strictSame(new Set(parts), new Set(again.slice(0, 2)), 'both are used again')
  t.notOk(parts.includes(again[2]!), 'once')

  const failed = budget.open()
  const part = failed.takePart()
  failed.close()
  t.not(second.takePart(), part, 'a request may still send the buffer of an upload that has failed')
})

t.test('uploads that only send wait for memory in their order', async (t) => {
  const budget = createMemoryBudget({ sending: 10 })
  const [first, second, third] = [budget.open(), budget.open(), budget.open()]
  const order: string[] = []
  await first.reserveForSending(8)
  const waiting = [
    second.reserveForSending(8).then(() => order.push('second')),
    third.reserveForSending(2).then(() => order.push('third')),
  ]
  await sleep(10)
  t.strictSame(order, [])
  first.close()
  await Promise.all(waiting)
  t.strictSame(order, ['second', 'third'])
})
