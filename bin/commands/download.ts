import { createHash, type Hash } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable, Transform } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Image } from '../../schemas/images.ts'
import type { Upload } from '../../schemas/links.ts'
import { type Api, openApi } from '../api.ts'
import { type Command, idOf } from '../command.ts'
import { bytes, CommandError, count, createProgress, EXIT, plural, print, table } from '../output.ts'

const PARALLEL = 4
const MANIFEST = '.hasty-download.json'
const MAX_NAME = 150

interface Saved {
  name: string
  id: string
  outcome: 'downloaded' | 'there already' | 'failed'
  reason?: string
}

export const download: Command = {
  command: 'download <link>',
  describe: 'Download all images of a link, with the file names of their senders',
  examples: [['hasty download Vd0G… --to wedding', 'into a folder; run it again to continue']],
  options: (yargs) => yargs.option('to', { type: 'string', demandOption: true, describe: 'the folder' }),
  async run(options) {
    const api = await openApi()
    const id = idOf(options.link)
    const images = (
      await Array.fromAsync(api.all((page) => api.call('listImages', { query: { link: id, ...page } })))
    )
      .filter(({ removedAt }) => !removedAt)
      .reverse()
    const names = await chooseNames(options.to, images, await readNames(api, id))
    const saved = await saveAll(api, options.to, images, names)
    const failed = saved.filter(({ outcome }) => outcome === 'failed')
    print(options, saved, () => summarise(saved, images))
    return failed.length === 0 ? EXIT.done : failed.length === saved.length ? EXIT.failed : EXIT.partly
  },
}

/** The first name under which each image was sent. */
async function readNames(api: Api, id: string) {
  const names = new Map<string, string>()
  const read = api.all<Upload>(async (query) => (await api.call('readLink', { id, query })).received)
  for await (const { imageId, name } of read) if (name) names.set(imageId, name)
  return names
}

/** A file name for each image. A file in the folder keeps its name, so that the next run continues. */
async function chooseNames(folder: string, images: Image[], sent: Map<string, string>) {
  await mkdir(folder, { recursive: true })
  const path = join(folder, MANIFEST)
  const names: Record<string, string> = await readFile(path, 'utf8').then(JSON.parse, () => ({}))
  const used = new Set(Object.values(names).map((name) => name.toLowerCase()))
  for (const { id, mediaType } of images) {
    if (names[id]) continue
    const extension = mediaType
      .split('/')[1]!
      .replace(/\+.*|^x-/g, '')
      .replace('jpeg', 'jpg')
    const wanted = safeName(sent.get(id) ?? '') || `${id}.${extension}`
    let name = wanted
    for (let n = 2; used.has(name.toLowerCase()); n++) name = wanted.replace(/(\.[^.]*)?$/, ` (${n})$1`)
    used.add(name.toLowerCase())
    names[id] = name
  }
  await writeFile(path, JSON.stringify(names, null, 2))
  return names
}

/** A name that is safe as a file name on every system: a sender chose it. */
function safeName(name: string) {
  const plain = name
    .normalize('NFC')
    .replace(/[\p{Cc}\p{Cf}/\\:*?"<>|]/gu, '_')
    .replace(/^[.\s]+|[.\s]+$/g, '')
  const [, stem = '', extension = ''] = /^(.*?)(\.[^.]{1,10})?$/s.exec(plain) ?? []
  const safe = /^(con|prn|aux|nul|com\d|lpt\d)$/i.test(stem) ? `_${stem}` : stem
  return `${[...safe].slice(0, MAX_NAME).join('')}${extension}`
}

async function saveAll(api: Api, folder: string, images: Image[], names: Record<string, string>) {
  const saved: Saved[] = []
  const progress = createProgress()
  const total = images.reduce((sum, { size }) => sum + size, 0)
  let [next, done, doneBytes] = [0, 0, 0]
  const worker = async () => {
    while (next < images.length) {
      const n = next++
      const image = images[n]!
      const name = names[image.id]!
      try {
        saved[n] = { name, id: image.id, outcome: await saveOne(api, join(folder, name), image) }
      } catch (error) {
        if (error instanceof CommandError && error.exitCode !== EXIT.failed) throw error
        saved[n] = { name, id: image.id, outcome: 'failed', reason: (error as Error).message }
      }
      doneBytes += image.size
      progress.show(
        `${count(++done)} of ${plural(images.length, 'image')}, ${bytes(doneBytes)} of ${bytes(total)}`,
      )
    }
  }
  try {
    await Promise.all(Array.from({ length: PARALLEL }, worker))
  } finally {
    progress.end()
  }
  return saved
}

/** Saves an image under a temporary name, checks its SHA-256 and renames it. So a file with its name is complete. */
async function saveOne(api: Api, path: string, { id, hash }: Image): Promise<Saved['outcome']> {
  const sha256 = createHash('sha256')
  const isThere = await pipeline(createReadStream(path), sha256).then(
    () => sha256.digest('hex') === hash,
    () => false,
  )
  if (isThere) return 'there already'
  const draft = `${path}.part`
  try {
    const { body } = await api.open('getImageContent', { id })
    const received = createHash('sha256')
    await pipeline(Readable.fromWeb(body as never), hashing(received), createWriteStream(draft))
    if (received.digest('hex') !== hash)
      throw new Error(
        'The bytes have another SHA-256 than the image. Try again; if it stays, run: hasty verify',
      )
    await rename(draft, path)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
  return 'downloaded'
}

const hashing = (hash: Hash) =>
  new Transform({
    transform(chunk, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })

function summarise(saved: Saved[], images: Image[]) {
  if (saved.length === 0) return 'The link has no images.'
  const number = (name: Saved['outcome']) => saved.filter(({ outcome }) => outcome === name).length
  const parts = (['downloaded', 'there already', 'failed'] as const)
    .filter((name) => number(name) > 0)
    .map((name) => `${count(number(name))} ${name}`)
  const size = images.reduce((sum, image) => sum + image.size, 0)
  const total = `${plural(saved.length, 'image')} (${bytes(size)}): ${parts.join(', ')}.`
  const failed = saved.filter(({ outcome }) => outcome === 'failed')
  if (failed.length === 0) return total
  const rows = failed.map(({ name, reason = '' }) => [name, reason])
  return `${total}\n\n${table(['FILE', 'REASON'], rows, ['REASON', 'FILE'])}`
}
