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
const WITHIN_MS = 20_000

t.test(
  'after a slow file others are read, even if a process takes longer to start than the limit',
  async (t) => {
    const reader = createImageReader({ log: { warn() {} }, milliseconds: MILLISECONDS })
    t.teardown(() => reader.close())
    const picture = await make.picture().png().toBuffer()
    const empty = make.box('brob', Buffer.from('Exif'), brotliCompressSync(Buffer.alloc(2 ** 22)))
    const slow = make.jxl(...Array<Buffer>(500).fill(empty))
    await reader.warmUp()
    t.equal(await reader.read(JXL, async () => [slow]), undefined)
    const until = performance.now() + WITHIN_MS
    let metadata: unknown
    while (metadata === undefined && performance.now() < until)
      metadata = await reader.read(PNG, async () => [picture])
    t.match(metadata, { format: 'PNG' })
  },
)

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
