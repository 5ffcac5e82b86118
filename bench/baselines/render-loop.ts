// Makes WebP files of 640 pixels in a plain loop over sharp, with the settings of a variant. It repeats the list of files and
// writes the number of files per second.
import { readFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import sharp from 'sharp'
import type { DecodeLoop } from './decode-loop.ts'

const { list, seconds }: DecodeLoop = JSON.parse(process.argv[2]!)
const paths = readFileSync(list, 'utf8').trim().split('\n')
sharp.concurrency(1)
sharp.cache(false)

await make(paths[0]!)
const startedAt = performance.now()
const passed = () => (performance.now() - startedAt) / 1000
let files = 0
for (; passed() < seconds; files++) await make(paths[files % paths.length]!)
process.stdout.write(String(files / passed()))

async function make(path: string) {
  await sharp(await readFile(path), { failOn: 'none', sequentialRead: true })
    .resize(640)
    .toColourspace('srgb')
    .webp({ quality: 75, effort: 3 })
    .toBuffer()
}
