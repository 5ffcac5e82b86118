import { execFile, spawnSync } from 'node:child_process'
import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { promisify } from 'node:util'
import t from 'tap'
import { createArchives } from '../../../services/images/archive.ts'
import { newFolder } from '../../helpers/folder.ts'

const GiB = 2 ** 30
const skip = spawnSync('python3', ['--version']).status === 0 ? false : 'python3 is not installed'

interface File {
  name: string
  size: number
  read: () => Readable
}

/** The archives of a service that has these images. */
function archivesOf(files: File[]) {
  const rowOf = (n: number) => ({
    id: `${n}`,
    size: files[n]!.size,
    mediaType: 'image/png',
    receivedAt: new Date(),
  })
  const data = {
    images: {
      async page({ limit, after }: { limit: number; after?: { id: string } }) {
        const start = after ? Number(after.id) : 0
        const end = Math.min(start + limit, files.length)
        const items = Array.from({ length: end - start }, (_, n) => rowOf(start + n))
        return { items, next: end < files.length ? { id: `${end}` } : undefined }
      },
    },
    uploads: { namesOf: async (ids: string[]) => new Map(ids.map((id) => [id, files[Number(id)]!.name])) },
  }
  const images = { inspect: async (id: string) => ({ bytes: files[Number(id)]!.read() }) }
  return createArchives({ data, images } as never)
}

/** Saves an archive. Zeros are not written, so the file needs little space. */
async function save(archive: Readable, path: string) {
  const file = await open(path, 'w')
  let at = 0
  let waiting: Buffer[] = []
  let bytes = 0
  const write = async () => {
    if (bytes > 0) await file.write(Buffer.concat(waiting), 0, bytes, at)
    at += bytes
    waiting = []
    bytes = 0
  }
  for await (const chunk of archive as AsyncIterable<Buffer>) {
    if (chunk.equals(ZEROS.subarray(0, chunk.length))) {
      await write()
      at += chunk.length
      continue
    }
    waiting.push(chunk)
    bytes += chunk.length
    if (bytes >= ZEROS.length) await write()
  }
  await write()
  await file.truncate(at)
  await file.close()
  return at
}

const ZEROS = Buffer.alloc(2 ** 20)

function* zeros(size: number) {
  for (let left = size; left > 0; left -= ZEROS.length) yield ZEROS.subarray(0, Math.min(left, ZEROS.length))
}

const HELLO = Buffer.from('hello')

const small = (name: string): File => ({
  name,
  size: HELLO.length,
  read: () =>
    new Readable({
      read() {
        this.push(HELLO)
        this.push(null)
      },
    }),
})

/** What another program finds in an archive: the number of files, the last one's name, offset and content. */
async function inspect(path: string) {
  const program = `
import json, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as archive:
    files = archive.infolist()
    last = files[-1]
    print(json.dumps([len(files), [file.file_size for file in files[:2]], last.filename, last.header_offset, archive.read(last).decode()]))`
  const { stdout } = await promisify(execFile)('python3', ['-c', program, path])
  return JSON.parse(stdout)
}

t.test('another program reads an archive of more than 4 GiB', { skip }, async (t) => {
  const path = join(newFolder(t), 'large.zip')
  const size = 4 * GiB + 1
  const large: File = { name: 'large.png', size, read: () => Readable.from(zeros(size)) }
  await save(archivesOf([large, small('last.png')]).open({}), path)
  const [count, sizes, name, offset, content] = await inspect(path)
  t.strictSame([count, sizes, name, content], [2, [size, 5], 'last.png', 'hello'])
  t.ok(offset > size)
})

t.test('another program reads an archive of more than 65,535 files', { skip }, async (t) => {
  const path = join(newFolder(t), 'many.zip')
  const files = Array.from({ length: 65_600 }, (_, n) => small(`${n}.png`))
  await save(archivesOf(files).open({}), path)
  t.match(await inspect(path), [65_600, [5, 5], '65599.png', Number, 'hello'])
})
