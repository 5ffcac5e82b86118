import { fork, spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import sharp from 'sharp'
import t from 'tap'
import { createDecoder, DecoderTimeout } from '../../../services/analysis/sandbox/decoder.ts'
import { detectSandbox } from '../../../services/analysis/sandbox/levels.ts'
import { openDecoder } from '../../helpers/decoder.ts'
import { newFolder } from '../../helpers/folder.ts'

const folder = newFolder(t)
const PNG = { format: 'PNG', mediaType: 'image/png' }
const decoderUrl = new URL('../../../services/analysis/sandbox/decoder.ts', import.meta.url).href
const levelsUrl = new URL('../../../services/analysis/sandbox/levels.ts', import.meta.url).href

/** A PNG of random pixels. */
function noise(width: number, height: number) {
  return sharp(randomBytes(width * height * 3), { raw: { width, height, channels: 3 } })
    .png({ compressionLevel: 1 })
    .toBuffer()
}

t.test('a process for variants starts also if the service has the lowest priority', async (t) => {
  const { command, ...level } = await detectSandbox()
  const withLowestPriority: typeof command = (...given) => {
    const [file, args] = command(...given)
    return ['nice', ['-n', '19', file, ...args]]
  }
  const sandbox = Promise.resolve({ ...level, command: withLowestPriority })
  const decoder = createDecoder('render', { sandbox, memory: 2 ** 30 })
  t.teardown(() => decoder.close())
  await t.resolves(decoder.start())
})

t.test(
  'decodes one file after the other, and ends a process that takes too long or too much memory',
  async (t) => {
    const decoder = openDecoder(t)
    const good = await noise(400, 300)
    t.match(await decoder.examine(good), { status: 'ready', metadata: { width: 400 } })

    const hanging = openDecoder(t)
    await t.rejects(hanging.examine(good, 30), {
      name: DecoderTimeout.name,
      message: 'the image takes more than 0.03 s to decode',
    })

    const hungry = openDecoder(t, { memory: 2 ** 28 })
    t.match(await hungry.examine(Buffer.concat([good, Buffer.alloc(2 ** 28)])), {
      status: 'failed',
      failure: 'the image takes more than 256 MiB to decode',
    })
    t.match(await decoder.examine(good), { status: 'ready' }, 'the other decoder is not affected')
    t.match(await hanging.examine(good), { status: 'ready' }, 'its process is started again')
  },
)

t.test('decodes a large file from a descriptor', async (t) => {
  const path = join(folder, 'large.png')
  writeFileSync(path, await noise(400, 300))
  const descriptor = openSync(path, 'r')
  const decoder = openDecoder(t)
  t.match(await decoder.run(PNG, { descriptor }, { milliseconds: 60_000 }), {
    status: 'ready',
    metadata: { width: 400, placeholder: String },
  })
})

t.test('a process that is killed fails only the file that it reads', async (t) => {
  const decoder = openDecoder(t)
  const good = await noise(2000, 1500)
  await decoder.start()
  const examining = t.rejects(decoder.examine(good), { message: 'the decoder process ended (SIGSEGV)' })
  process.kill(descendants().at(-1)!, 'SIGSEGV')
  await examining
  t.match(await decoder.examine(good), { status: 'ready' })
})

t.test('a decoder ends with the process that started it, also while it decodes', async (t) => {
  const image = join(folder, 'slow.png')
  writeFileSync(image, await noise(3000, 2000))
  const script = join(folder, 'parent.mjs')
  writeFileSync(
    script,
    `import { readFileSync } from 'node:fs'
    import { createDecoder } from ${JSON.stringify(decoderUrl)}
    import { detectSandbox } from ${JSON.stringify(levelsUrl)}
    const decoder = createDecoder('examine', { sandbox: detectSandbox(), memory: 2 ** 30 })
    const examine = () =>
      decoder.run(${JSON.stringify(PNG)}, [readFileSync(${JSON.stringify(image)})], { milliseconds: 60_000 })
    await examine()
    process.send('ready')
    for (;;) await examine()`,
  )
  const parent = fork(script, { execArgv: [] })
  await once(parent, 'message')
  const pids = descendants(parent.pid)
  t.ok(pids.length > 0)
  parent.kill('SIGKILL')
  await once(parent, 'exit')
  for (const end = Date.now() + 10_000; pids.some(isRunning) && Date.now() < end; ) await sleep(20)
  t.notOk(pids.some(isRunning))
})

t.test('a signal to the whole process group does not end a decoder', async (t) => {
  const image = join(folder, 'group.png')
  writeFileSync(image, await noise(2000, 1500))
  const script = join(folder, 'group.mjs')
  writeFileSync(
    script,
    `import { readFileSync } from 'node:fs'
    import { createDecoder } from ${JSON.stringify(decoderUrl)}
    import { detectSandbox } from ${JSON.stringify(levelsUrl)}
    process.on('SIGTERM', () => {})
    const decoder = createDecoder('examine', { sandbox: detectSandbox(), memory: 2 ** 30 })
    const file = readFileSync(${JSON.stringify(image)})
    const examining = decoder.run(${JSON.stringify(PNG)}, [file], { milliseconds: 60_000 })
    process.send('begun')
    process.send(await examining)
    await decoder.close()
    process.disconnect()`,
  )
  const parent = fork(script, { execArgv: [], detached: true })
  await once(parent, 'message')
  process.kill(-parent.pid!, 'SIGTERM')
  const [verdict] = await once(parent, 'message')
  t.match(verdict, { status: 'ready' })
  t.strictSame(await once(parent, 'exit'), [0, null])
})

t.test('an image does not fail because earlier images have left too little memory', async (t) => {
  const decoder = openDecoder(t)
  t.match(await decoder.examine(await noise(40, 30)), { status: 'ready' })
  const first = descendants()
  // The process may not have more memory than it has.
  for (const pid of first) spawnSync('prlimit', ['--pid', String(pid), '--data=1'])
  const image = Buffer.concat([await noise(400, 300), Buffer.alloc(2 ** 26)])
  t.match(await decoder.examine(image), { status: 'ready' })
  t.not(descendants().at(-1), first.at(-1), 'it was read by a new process')
})

/** The ids of all processes below a process (proc(5)). */
function descendants(pid = process.pid): number[] {
  const found = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').filter(Boolean)
  return found.map(Number).flatMap((child) => [child, ...descendants(child)])
}

function isRunning(pid: number) {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'))
  } catch {
    return false
  }
}

t.test('a variant that is larger than a pipe arrives, also if nobody reads it for a while', async (t) => {
  const decoder = createDecoder('render', { sandbox: detectSandbox(), memory: 2 ** 30 })
  t.teardown(() => decoder.close())
  await decoder.start()
  const request = { width: 1_000, fit: 'inside', format: 'png', quality: 80 } as const
  const content = [await noise(1_000, 1_000)]
  const rendering = decoder.render(PNG, content, { milliseconds: 60_000, request })
  // The job is sent. Then this process is busy, and its end of the pipe is full.
  await sleep(100)
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000)
  const { bytes } = (await rendering) as { bytes: Buffer }
  t.ok(bytes.length > 1_000_000, `${bytes.length} bytes`)
  t.match(await sharp(bytes).metadata(), { format: 'png', width: 1_000 })
})
