import { setTimeout as sleep } from 'node:timers/promises'
import { brotliCompressSync } from 'node:zlib'
import t from 'tap'
import { createImageReader } from '../../../services/analysis/reader.ts'
import { createDecoder, DecoderTimeout } from '../../../services/analysis/sandbox/decoder.ts'
import * as make from '../../helpers/make.ts'

const PNG = { format: 'PNG', mediaType: 'image/png' }
const JXL = { format: 'JPEG XL', mediaType: 'image/jxl' }
// A process takes longer to start.
const MILLISECONDS = 100
const empty = make.box('brob', Buffer.from('Exif'), brotliCompressSync(Buffer.alloc(2 ** 22)))
const slow = make.jxl(...Array<Buffer>(500).fill(empty))
const WITHIN_MS = 20_000

t.test(
  'after a slow file others are read, even if a process takes longer to start than the limit',
  async (t) => {
    const reader = createImageReader({ log: { warn() {} }, milliseconds: MILLISECONDS })
    t.teardown(() => reader.close())
    const picture = await make.picture().png().toBuffer()
    await reader.warmUp()
    t.equal(await reader.of('a').read(JXL, async () => [slow]), undefined)
    const until = performance.now() + WITHIN_MS
    let metadata: unknown
    while (metadata === undefined && performance.now() < until)
      metadata = await reader.of('a').read(PNG, async () => [picture])
    t.match(metadata, { format: 'PNG' })
  },
)

t.test('while links send slow files, one process is free for other links', async (t) => {
  const reader = createImageReader({ log: { warn() {} }, milliseconds: 1_000 })
  t.teardown(() => reader.close())
  const picture = await make.picture().png().toBuffer()
  await reader.warmUp()
  const attackers = [reader.of('attacker'), reader.of('another link of the attacker')]
  await Promise.all(attackers.map((attacker) => attacker.read(JXL, async () => [slow])))
  let isOver = false
  let running = 0
  let most = 0
  const attacks = [...attackers, ...attackers].map(async (attacker) => {
    while (!isOver) {
      let began = 0
      const open = async () => {
        most = Math.max(most, ++running)
        began = 1
        return [slow]
      }
      await attacker.read(JXL, open)
      running -= began
    }
  })
  // Each process is started again after a slow file.
  let read = await reader.of('other').read(PNG, async () => [picture])
  const until = performance.now() + WITHIN_MS
  while ((read === undefined || most === 0) && performance.now() < until)
    read = await reader.of('other').read(PNG, async () => [picture])
  for (let n = 0; n < 5; n++)
    t.match(await reader.of('other').read(PNG, async () => [picture]), { format: 'PNG' }, `file ${n}`)
  isOver = true
  await Promise.all(attacks)
  t.equal(most, 1)
})

t.test('a process that ends while it starts, after the limit, does not end this process', async (t) => {
  const command = (): [string, string[]] => ['sh', ['-c', 'sleep 0.2; exit 1']]
  const sandbox = Promise.resolve({ level: 'permissions' as const, limited: false, command })
  const decoder = createDecoder('read', { sandbox, memory: 2 ** 28 })
  const failures: unknown[] = []
  const note = (reason: unknown) => failures.push(reason)
  process.on('unhandledRejection', note)
  t.teardown(() => process.off('unhandledRejection', note))
  await t.rejects(decoder.run(PNG, [Buffer.alloc(1)], { milliseconds: 50 }), DecoderTimeout)
  await t.rejects(decoder.start(), { name: 'DecoderUnavailable' })
  await sleep(500)
  t.strictSame(failures, [])
})
