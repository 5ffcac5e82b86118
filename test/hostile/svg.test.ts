import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { readMetadata } from '../../formats/metadata.ts'
import { openDecoder } from '../helpers/decoder.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import * as make from '../helpers/make.ts'

const asked: string[] = []
const server = createServer((request, response) => {
  asked.push(request.url!)
  response.end('<svg xmlns="http://www.w3.org/2000/svg"/>')
}).listen(0, '127.0.0.1')
await once(server, 'listening')
t.teardown(() => server.close())
const elsewhere = (name: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/${name}`

const folder = newFolder(t)
const red = join(folder, 'red.png')
writeFileSync(red, await make.picture(9, 9).negate().png().toBuffer())
const decoder = openDecoder(t)

async function examine(_name: string, file: Buffer) {
  const format = (await sniff(file.subarray(0, HEAD_BYTES)))!
  // In the service's own process, and then in the decoder's.
  await readMetadata(file, format).catch(() => {})
  return decoder.examine(file)
}

const svg = (content: string, before = '') =>
  Buffer.from(
    `${before}<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:xi="http://www.w3.org/2001/XInclude" width="9" height="9">${content}</svg>`,
  )

t.test('decoding an SVG opens no connection and no other file', async (t) => {
  const blank = await examine('blank', svg(''))
  t.match(blank, { status: 'ready', metadata: { placeholder: /./ } })
  for (const [kind, url] of [
    ['http', elsewhere],
    ['file', () => pathToFileURL(red).href],
    ['path', () => 'red.png'],
  ] as const) {
    for (const [name, file] of Object.entries({
      doctype: svg('', `<!DOCTYPE svg SYSTEM "${url('doctype')}">`),
      public: svg('', `<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "${url('public')}">`),
      entity: svg('&e;', `<!DOCTYPE svg [<!ENTITY e SYSTEM "${url('entity')}">]>`),
      parameter: svg('', `<!DOCTYPE svg [<!ENTITY % e SYSTEM "${url('parameter')}"> %e;]>`),
      stylesheet: svg('', `<?xml-stylesheet href="${url('stylesheet')}"?>`),
      include: svg(`<xi:include href="${url('include')}"/>`),
      image: svg(`<image href="${url('image')}" width="9" height="9"/>`),
      xlink: svg(`<image xlink:href="${url('xlink')}" width="9" height="9"/>`),
      use: svg(`<use href="${url('use')}#a"/>`),
      effect: svg(
        `<filter id="f"><feImage href="${url('effect')}"/></filter><rect filter="url(#f)" width="9" height="9"/>`,
      ),
      import: svg(`<style>@import url(${url('import')});</style>`),
      font: svg(
        `<style>@font-face { font-family: f; src: url(${url('font')}) }</style><text font-family="f">a</text>`,
      ),
      fill: svg(`<rect fill="url(${url('fill')}#a) none" width="9" height="9"/>`),
      script: svg(`<script href="${url('script')}"/>`),
      frame: svg(
        `<foreignObject width="9" height="9"><iframe xmlns="http://www.w3.org/1999/xhtml" src="${url('frame')}"/></foreignObject>`,
      ),
      nested: svg(
        `<image href="data:image/svg+xml;base64,${svg(`<image href="${url('nested')}" width="9" height="9"/>`).toString('base64')}" width="9" height="9"/>`,
      ),
    })) {
      const { status, ...verdict } = await examine(`${kind}-${name}`, file)
      t.match(status, /ready|corrupt|failed/, `${kind} ${name}`)
      const { placeholder } = ('metadata' in verdict && verdict.metadata) || {}
      // The text is drawn, in a font of its own.
      if (status === 'ready' && !/font/.test(name) && 'metadata' in blank)
        t.equal(placeholder, blank.metadata?.placeholder, `${kind} ${name}: nothing is drawn`)
    }
  }
  t.strictSame(asked, [], 'nothing was asked for')
})

t.test('reading XMP opens no connection', async (t) => {
  const packet = make.xmp({ 'tiff:Model': 'M' }).toString()
  for (const doctype of [
    `<!DOCTYPE x SYSTEM "${elsewhere('xmp')}">`,
    `<!DOCTYPE x [<!ENTITY e SYSTEM "${elsewhere('entity')}">]>`,
    `<!DOCTYPE x [<!ENTITY % e SYSTEM "${elsewhere('parameter')}"> %e;]>`,
  ]) {
    const file = make.withXmp(await makeImage('jpeg'), Buffer.from(doctype + packet))
    t.match(await examine('xmp', file), { status: 'ready' })
  }
  const laughs = Array.from({ length: 12 }, (_, n) => `<!ENTITY e${n + 1} "${`&e${n};`.repeat(10)}">`).join(
    '',
  )
  const bomb = `<!DOCTYPE x [<!ENTITY e0 "laugh">${laughs}]>${packet.replace('"M"', '"&e12;"')}`
  const start = performance.now()
  t.match(await examine('laughs', make.withXmp(await makeImage('jpeg'), Buffer.from(bomb))), {
    status: 'ready',
  })
  t.ok(performance.now() - start < 5000)
  t.strictSame(asked, [])
})
