import { execFile, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { type AddressInfo, connect as connectSocket, createServer as createNetServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { chromium } from 'playwright-core'
import t from 'tap'
import { Upload, type UploadOptions } from 'tus-js-client'
import { build, makeLink } from '../helpers/app.ts'
import { makePadded } from '../helpers/images.ts'

const run = promisify(execFile)
const MiB = 2 ** 20
const CHROMIUM = '/usr/bin/chromium'
const TUS_JS = fileURLToPath(new URL('../../node_modules/tus-js-client/dist/tus.min.js', import.meta.url))
const TUS_JAVA = fileURLToPath(new URL('../../build/java/tus-java-client-0.5.1.jar', import.meta.url))

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex')
const missing = (what: string, isThere: boolean) => (isThere ? false : `${what} is not installed`)

const app = await build(t, { CORS_ORIGIN: '*' })
await app.listen({ port: 0 })
const base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
const link = base + (await makeLink(app))

const folder = await mkdtemp(join(tmpdir(), 'hasty-tus-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))

/** The hashes of all images. */
async function hashes() {
  return (await app.stores.data.sql<{ hash: string }[]>`select hash from images`).map(({ hash }) => hash)
}

/** Writes a new image to a file. */
async function newFile() {
  const bytes = await makePadded(5 * MiB)
  const path = join(folder, `${sha256(bytes)}.png`)
  await writeFile(path, bytes)
  return { path, hash: sha256(bytes), bytes }
}

/** Passes connections on, and cuts the first `cuts` of them after some bytes of the request. */
async function startCutter(cuts: number) {
  let seen = 0
  const proxy = createNetServer((client) => {
    const target = connectSocket(Number(new URL(base).port), '127.0.0.1')
    let bytes = 0
    const isCut = ++seen > 1 && seen <= cuts + 1
    client.on('data', (chunk) => {
      bytes += chunk.length
      if (isCut && bytes > 700_000) {
        client.destroy()
        target.destroy()
      } else target.write(chunk)
    })
    target.pipe(client)
    client.on('end', () => target.end()).on('error', () => target.destroy())
    target.on('error', () => client.destroy())
  })
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  t.teardown(() => proxy.close())
  return `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`
}

for (const protocol of ['tus-v1', 'ietf-draft-03', 'ietf-draft-05'] as const) {
  t.test(`tus-js-client in Node uploads by ${protocol}, also over connections that are cut`, async (t) => {
    const { bytes, hash } = await newFile()
    const cutter = await startCutter(3)
    const body = await new Promise<string>((resolve, reject) => {
      new Upload(bytes, {
        endpoint: `${link.replace(base, cutter)}/files`,
        // Its types do not have this option.
        ...({ protocol } as Partial<UploadOptions>),
        chunkSize: 2 * MiB,
        retryDelays: [0, 50, 100, 100, 100],
        metadata: { filename: 'a.png', filetype: 'image/png' },
        headers: { Accept: 'application/json' },
        onError: reject,
        onSuccess: ({ lastResponse }) => resolve(lastResponse.getBody()),
      }).start()
    })
    const { processed } = JSON.parse(body)
    t.equal(processed[0].hash, hash)
    t.equal(processed[0].name, 'a.png')
  })
}

t.test(
  'tus-js-client in Chromium uploads from a page of another origin',
  {
    skip: missing('chromium', existsSync(CHROMIUM)),
  },
  async (t) => {
    const page = createServer((request, response) => {
      const isScript = request.url === '/tus.js'
      response.setHeader('Content-Type', isScript ? 'text/javascript' : 'text/html')
      response.end(isScript ? readFileSync(TUS_JS) : '<script src="/tus.js"></script>')
    })
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
    t.teardown(() => page.close())
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
    t.teardown(() => browser.close())
    const tab = await browser.newPage()
    await tab.goto(`http://127.0.0.1:${(page.address() as AddressInfo).port}/`)
    const { bytes, hash } = await newFile()
    const upload = `(async ({ endpoint, base64 }) => {
    const bytes = await (await fetch('data:image/png;base64,' + base64)).blob()
    return new Promise((resolve, reject) => {
      new tus.Upload(bytes, {
        endpoint,
        chunkSize: 2097152,
        metadata: { filename: 'b.png' },
        onError: (error) => reject(error),
        onSuccess: ({ lastResponse }) => resolve(lastResponse.getBody()),
      }).start()
    })
  })`
    const body = await tab.evaluate(
      `${upload}(${JSON.stringify({ endpoint: `${link}/files`, base64: bytes.toString('base64') })})`,
    )
    t.equal(JSON.parse(String(body)).processed[0].hash, hash)
  },
)

t.test(
  'the fetch example of docs/uploading.md uploads a file that was chosen in Chromium',
  { skip: missing('chromium', existsSync(CHROMIUM)) },
  async (t) => {
    const page = createServer((_request, response) =>
      response.setHeader('Content-Type', 'text/html').end('<input type="file">'),
    )
    await new Promise<void>((resolve) => page.listen(0, '127.0.0.1', resolve))
    t.teardown(() => page.close())
    const browser = await chromium.launch({ executablePath: CHROMIUM, args: ['--no-sandbox'] })
    t.teardown(() => browser.close())
    const tab = await browser.newPage()
    await tab.goto(`http://127.0.0.1:${(page.address() as AddressInfo).port}/`)
    const { path, hash } = await newFile()
    await tab.setInputFiles('input', path)
    const docs = readFileSync(new URL('../../docs/uploading.md', import.meta.url), 'utf8')
    const [, example] = /In a browser.*?```js\n(.*?)```/s.exec(docs)!
    const answer = await tab.evaluate(`(async (link, file) => {
      ${example}
      return { processed, rejected }
    })(${JSON.stringify(link)}, document.querySelector('input').files[0])`)
    t.match(answer, { processed: [{ hash, name: `${hash}.png` }], rejected: [] })
  },
)

t.test(
  'tuspy uploads, and continues an upload',
  {
    skip: missing('python3-tuspy', spawnSync('/usr/bin/python3', ['-c', 'import tusclient']).status === 0),
  },
  async (t) => {
    const { path, hash } = await newFile()
    const program = `
import sys
from tusclient import client
uploader = client.TusClient(sys.argv[1]).uploader(sys.argv[2], chunk_size=1048576, metadata={'filename': 'c.png'})
uploader.upload(stop_at=2097152)
again = client.TusClient(sys.argv[1]).uploader(sys.argv[2], chunk_size=1048576, url=uploader.url)
assert again.offset == 2097152, again.offset
again.upload()
print(again.url)`
    const { stdout } = await run('/usr/bin/python3', ['-c', program, `${link}/files`, path])
    const answer = await fetch(stdout.trim(), { headers: { Accept: 'application/json' } })
    const { processed } = (await answer.json()) as { processed: { hash: string; name: string }[] }
    t.match(processed, [{ hash, name: 'c.png' }])
  },
)

t.test(
  'tus-java-client uploads',
  {
    skip:
      missing('java', spawnSync('java', ['-version']).status === 0) ||
      missing('tus-java-client', existsSync(TUS_JAVA)),
  },
  async (t) => {
    const { path, hash } = await newFile()
    const source = join(folder, 'Send.java')
    await writeFile(
      source,
      `
import io.tus.java.client.*; import java.io.File; import java.net.URI;
class Send { public static void main(String[] a) throws Exception {
  var client = new TusClient();
  client.setUploadCreationURL(URI.create(a[0]).toURL());
  var uploader = client.resumeOrCreateUpload(new TusUpload(new File(a[1])));
  uploader.setChunkSize(1048576);
  uploader.setRequestPayloadSize(2097152);
  while (uploader.uploadChunk() > -1);
  uploader.finish();
} }`,
    )
    await run('java', ['-cp', TUS_JAVA, source, `${link}/files`, path])
    t.ok((await hashes()).includes(hash))
  },
)
