// Decodes files in a plain loop with the libraries that a worker uses for a JPEG: metadata, pixels, placeholder. It repeats
// the list of files and writes the number of files per second.
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { constants, setPriority } from 'node:os'
import ExifReader from 'exifreader'
import sharp from 'sharp'
import { rgbaToThumbHash } from 'thumbhash'

/** The argument of this script, as JSON. */
export interface DecodeLoop {
  /** A file that has one path per line. */
  list: string
  seconds: number
}

const { list, seconds }: DecodeLoop = JSON.parse(process.argv[2]!)
const paths = readFileSync(list, 'utf8').trim().split('\n')
sharp.concurrency(1)
sharp.cache(false)
// Like the decoders of a worker.
setPriority(constants.priority.PRIORITY_LOW)

await examine(paths[0]!)
const startedAt = performance.now()
const passed = () => (performance.now() - startedAt) / 1000
let files = 0
for (; passed() < seconds; files++) await examine(paths[files % paths.length]!)
process.stdout.write(String(files / passed()))

async function examine(path: string) {
  const bytes = await readFile(path)
  await sharp(bytes).metadata()
  ExifReader.load(bytes, { expanded: true })
  const { data, info } = await sharp(path, { failOn: 'error', sequentialRead: true })
    .resize(100, 100, { fit: 'inside', withoutEnlargement: true })
    .ensureAlpha()
    .raw()
    .toBuffer({ resolveWithObject: true })
  rgbaToThumbHash(info.width, info.height, data)
}
