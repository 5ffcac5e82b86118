import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { rejectionReasons } from '../../schemas/uploads.ts'
import { UPLOAD_METHODS } from '../../services/uploads/upload-request.ts'
import { type App, admin, build, makeLink } from '../helpers/app.ts'
import { makeImage, makePadded, noSamples } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { locationOf, pieces, resumableClient } from '../helpers/resumable.ts'
import { times } from '../helpers/tiers.ts'

const SAMPLES = new URL('../../../shared/samples/', import.meta.url)
const MAX_BYTES = times(300_000, 50_000_000)

function* readSamples() {
  const names = readdirSync(SAMPLES).filter((name) => !name.endsWith('.md'))
  const chosen = names.filter((_, index) => index % times(Math.ceil(names.length / 6), 1) === 0)
  for (const name of chosen) {
    const bytes = readFileSync(new URL(name, SAMPLES))
    if (bytes.length <= MAX_BYTES) yield [name, bytes] as const
  }
}

// Each upload becomes an image of its own, so that no response depends on the one before it.
const app = await build(t, { HIDE_DUPLICATES: 'true', GUESS_LIMIT: '0' })
const link = await makeLink(app)
const octets = { 'content-type': 'application/octet-stream' }

const methodsOf = (app: App, link: string, { tus, draft, call } = resumableClient(app)) => ({
  multipart: (body: Buffer, filename: string) =>
    app.inject({ method: 'POST', url: link, ...multipart([{ body, filename }]) }),
  raw: (body: Buffer, name: string) => call('POST', `${link}?name=${encodeURIComponent(name)}`, octets, body),
  async tus(body: Buffer, filename: string) {
    const url = locationOf(
      await tus.begin(link, { 'upload-length': body.length, 'upload-metadata': tus.metadata({ filename }) }),
    )
    let answer = await tus.append(url, 0, Buffer.alloc(0))
    for (const { offset, piece } of pieces(body, 3)) {
      if (answer.statusCode < 300) answer = await tus.append(url, offset, piece)
    }
    return answer
  },
  async draft(body: Buffer, filename: string) {
    const begun = await draft.begin(
      link,
      { 'upload-complete': '?0', 'content-disposition': `attachment; filename="${filename}"` },
      body.subarray(0, 10),
    )
    return draft.append(locationOf(begun), 10, body.subarray(10), { 'upload-complete': '?1' })
  },
})
const methods = methodsOf(app, link)

async function compare(t: import('tap').Test, name: string, body: Buffer) {
  const responses = []
  for (const [method, send] of Object.entries(methods)) {
    const answer = await send(body, name)
    const { processed = [], requestId: _, ...rest } = answer.json()
    responses.push({
      method,
      status: answer.statusCode,
      rest,
      processed: processed.map((each: object) => ({ ...each, id: undefined })),
    })
  }
  const [{ method: _, ...expected }, ...others] = responses as [(typeof responses)[0], ...typeof responses]
  for (const { method, ...response } of others) t.strictSame(response, expected, `${name} by ${method}`)
}

t.test(
  'each sample gets the same response by all methods',
  { skip: noSamples, timeout: 1_200_000 },
  async (t) => {
    let count = 0
    for (const [name, bytes] of readSamples()) {
      await compare(t, name, bytes)
      count++
    }
    t.ok(count > 3, `${count} samples`)
  },
)

t.test('bytes that are not accepted get the same response by all methods', async (t) => {
  const png = await makeImage()
  for (const [name, bytes] of Object.entries({
    text: Buffer.from('hello, this is a text'),
    html: Buffer.from('GIF89a<html><script>alert(1)</script></html>'),
    'a cut PNG': png.subarray(0, 40),
    'a PNG of 11 bytes': png.subarray(0, 11),
  }))
    await compare(t, name, bytes)
})

t.test(
  'a link never accepts more than its limits, also from 52 uploads at once by all methods',
  async (t) => {
    const bodies = await Promise.all(Array.from({ length: 52 }, () => makePadded(5_000)))
    const size = bodies[0]!.length
    for (const limits of [{ maxImages: 7 }, { maxBytes: 8 * size - 1 }]) {
      const link = await makeLink(app, { sinceNow: 'PT1H', ...limits })
      const ways = Object.values(methodsOf(app, link))
      // A resumable upload may be refused before its first byte.
      await Promise.allSettled(bodies.map((body, n) => ways[n % ways.length]!(body, 'a.png')))
      const url = `/admin/ephemeral-links/${link.split('/').at(-1)}`
      t.match((await app.inject({ url, headers: admin })).json(), { uploads: 7, bytes: 7 * size })
    }
  },
)

t.test('the metrics count parts, bytes, duplicates and rejections of each method', async (t) => {
  const app = await build(t, { HIDE_DUPLICATES: 'false' })
  const link = await makeLink(app)
  const send = methodsOf(app, link)
  const sizes = new Map<string, number>()
  for (const [n, method] of UPLOAD_METHODS.entries()) {
    const body = await makePadded(1000 * (n + 1))
    sizes.set(method, body.length)
    for (let sent = 0; sent <= n + 1; sent++) t.equal((await send[method](body, 'a.png')).statusCode, 200)
    t.equal((await send[method](Buffer.from('no image, but long enough'), 'b.txt')).statusCode, 415)
  }
  const { body: text } = await app.inject('/metrics')
  for (const [n, method] of UPLOAD_METHODS.entries())
    for (const [name, labels, value] of [
      ['uploads', '', n + 2],
      ['upload_duplicates', '', n + 1],
      ['upload_bytes', '', (n + 2) * sizes.get(method)!],
      ['upload_rejections', ',reason="not_an_image"', 1],
      ['upload_rejections', ',reason="too_large"', 0],
    ] as const) {
      const line = `hasty_${name}_total{method="${method}"${labels}} ${value}`
      t.ok(text.split('\n').includes(line), line)
    }
  const series = text.split('\n').filter((line) => line.startsWith('hasty_upload_rejections_total{'))
  t.equal(series.length, UPLOAD_METHODS.length * Object.keys(rejectionReasons).length, 'no other label')
})
