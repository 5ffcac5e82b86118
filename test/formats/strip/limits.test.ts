import { Readable } from 'node:stream'
import t from 'tap'
import { planWithoutMetadata } from '../../../formats/strip/index.ts'
import { createPlan } from '../../../formats/strip/plan.ts'
import * as make from '../../helpers/make.ts'

t.test('a plan reads at most 512 MiB of an image', async (t) => {
  const png = make.png()
  const head = Buffer.from(png.subarray(0, png.indexOf('IDAT') + 4))
  head.writeUInt32BE(2 ** 31 - 1, head.length - 8)
  const MiB = Buffer.alloc(2 ** 20)
  let read = 0
  function* chunks() {
    yield head
    for (;;) {
      read += MiB.length
      yield MiB
    }
  }
  await t.rejects(
    planWithoutMetadata('image/png', async () => Readable.from(chunks())),
    { name: 'CannotStrip', message: /too large/ },
  )
  t.ok(read < 2 ** 29 + 2 ** 26, `${read} bytes`)
})

t.test('a plan holds at most 8 MiB of its own bytes', async (t) => {
  const plan = createPlan()
  for (let n = 0; n < 8; n++) plan.add(Buffer.alloc(2 ** 20))
  t.throws(() => plan.add(Buffer.alloc(1)), { name: 'CannotStrip', message: /too large/ })
})
