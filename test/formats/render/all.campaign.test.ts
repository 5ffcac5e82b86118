import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import sharp from 'sharp'
import t from 'tap'
import { Undecodable } from '../../../formats/decode/undecodable.ts'
import { HEAD_BYTES, sniff } from '../../../formats/detect.ts'
import { readMetadata } from '../../../formats/metadata.ts'
import { render } from '../../../formats/render/render.ts'
import { Unrenderable } from '../../../formats/render/unrenderable.ts'
import { isWithin } from '../../helpers/cpu.ts'
import { newFolder } from '../../helpers/folder.ts'

const FOLDERS = ['../../../../shared/samples/', '../../../../shared/cases/pictures/'].map(
  (path) => new URL(path, import.meta.url),
)
const missing = FOLDERS.every((folder) => existsSync(folder)) ? false : 'the samples are not here'
const FORMATS = ['avif', 'webp', 'jpeg', 'png'] as const
const SIZES = [160, 640, 1920]
/** Milliseconds of processor time, on a machine of the usual speed. */
const LONGEST_MS = 2_000
/** libheif needs some 15 s for its 200 megapixels, in each format and size. So one of each is enough. */
const SLOW = 'heic-200mp-one-tile.heic'

const read = (url: URL) => {
  const bytes = readFileSync(url)
  return url.pathname.endsWith('.gz') ? gunzipSync(bytes) : bytes
}

/** Does `work`. Resolves with its result or its error, and the processor time that it took. */
async function timed<T>(work: () => Promise<T>) {
  const before = process.cpuUsage()
  const outcome = await work().catch((error: Error) => error)
  const { user, system } = process.cpuUsage(before)
  return { outcome, milliseconds: (user + system) / 1000 }
}

t.test(
  'every sample becomes each format in three sizes in time, without metadata',
  { skip: missing },
  async (t) => {
    sharp.concurrency(1)
    const folder = newFolder(t)
    for (const source of FOLDERS)
      for (const name of readdirSync(source)) {
        const file = read(new URL(name, source))
        const format = await sniff(file.subarray(0, HEAD_BYTES))
        const metadata = format && (await readMetadata(file, format).catch(() => undefined))
        if (!metadata) continue
        for (const format of name === SLOW ? (['webp'] as const) : FORMATS)
          for (const width of name === SLOW ? [160] : SIZES) {
            const what = `${name}, ${format}, ${width}`
            const wanted = { width, fit: 'inside', format, quality: 60 } as const
            const { outcome, ...first } = await timed(() => render(file, metadata, wanted))
            let { milliseconds } = first
            // Other work on the machine shares its caches and makes an attempt slower.
            for (let attempt = 1; attempt < 5 && name !== SLOW; attempt++) {
              if (isWithin(milliseconds, LONGEST_MS)) break
              const again = await timed(() => render(file, metadata, wanted))
              milliseconds = Math.min(milliseconds, again.milliseconds)
            }
            if (name !== SLOW) t.ok(isWithin(milliseconds, LONGEST_MS), `${what}: ${milliseconds} ms`)
            if (outcome instanceof Error) {
              const isRefused = outcome instanceof Unrenderable || outcome instanceof Undecodable
              t.ok(isRefused, `${what}: ${outcome}`)
              continue
            }
            writeFileSync(join(folder, `${name}.${width}.${format}`), outcome.bytes)
            const { width: own = 0, height: high = 0, orientation = 1 } = metadata
            const shown = orientation < 5 ? own : high
            // The preview of a raw picture may be smaller.
            if (own > 0 && !/^(DNG|NEF|ARW)$/.test(metadata.format))
              t.equal(outcome.width, Math.min(width, shown), what)
          }
      }
    const found = JSON.parse(
      execFileSync('exiftool', ['-j', '-G1', '-q', folder], { maxBuffer: 2 ** 28 }).toString(),
    ) as Record<string, unknown>[]
    t.ok(found.length > 500, `${found.length} variants`)
    const groups = new Set(found.flatMap((tags) => Object.keys(tags).map((tag) => tag.split(':')[0])))
    t.notOk(
      [...groups].some((group) =>
        /^(IFD|ExifIFD|GPS|XMP|IPTC|ICC|Photoshop|MakerNotes|Canon|Apple|Interop)/.test(group!),
      ),
      [...groups].join(', '),
    )
  },
)
