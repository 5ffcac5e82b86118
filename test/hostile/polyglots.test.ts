import { deflateRawSync } from 'node:zlib'
import t from 'tap'
import { build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import * as make from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'

// Files that are an image and something else too. What is an image is taken in and comes out bit by bit; what a browser
// does with it is up to the answer's header fields.

const SCRIPT = '<html><body><script>document.title="ran"</script></body></html>'
const RUN = 'document.title="ran"'

const app = await build(t)
const link = await makeLink(app)

/** An archive of one file; its directory stands at the end, so that anything may stand before it. */
function zip(name: string, content: string) {
  const data = deflateRawSync(Buffer.from(content))
  const local = Buffer.alloc(30)
  local.write('PK\x03\x04', 'latin1')
  local.writeUInt16LE(8, 8)
  local.writeUInt32LE(data.length, 18)
  local.writeUInt32LE(content.length, 22)
  local.writeUInt16LE(name.length, 26)
  const central = Buffer.alloc(46)
  central.write('PK\x01\x02', 'latin1')
  central.writeUInt16LE(8, 10)
  central.writeUInt32LE(data.length, 20)
  central.writeUInt32LE(content.length, 24)
  central.writeUInt16LE(name.length, 28)
  const end = Buffer.alloc(22)
  end.write('PK\x05\x06', 'latin1')
  end.writeUInt16LE(1, 8)
  end.writeUInt16LE(1, 10)
  end.writeUInt32LE(46 + name.length, 12)
  end.writeUInt32LE(30 + name.length + data.length, 16)
  return Buffer.concat([local, Buffer.from(name), data, central, Buffer.from(name), end])
}

/** A GIF whose width makes its first bytes a JavaScript comment, which its palette and a trailer end. */
function gifOfScript(gif: Buffer) {
  const bytes = Buffer.concat([gif, Buffer.from(`*/=1;${RUN}//`)])
  bytes.write('/*', 6, 'latin1')
  return bytes
}

const svg = (content: string) =>
  Buffer.from(`<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9">${content}</svg>`)

const jpeg = await makeImage('jpeg')
const png = await makeImage('png')
const gif = await makeImage('gif')
const webp = await makeImage('webp')
const tiff = await makeImage('tiff')
const after = (image: Buffer, more: string | Buffer) => Buffer.concat([image, Buffer.from(more)])

const polyglots: Record<string, [Buffer, type: string]> = {
  'JPEG with HTML in a comment': [make.withSegment(jpeg, 0xfe, Buffer.from(SCRIPT)), 'image/jpeg'],
  'JPEG with HTML in its Exif': [make.withExif(jpeg, make.tiff({ 270: SCRIPT })), 'image/jpeg'],
  'JPEG with HTML behind it': [after(jpeg, SCRIPT), 'image/jpeg'],
  'JPEG with JavaScript behind it': [after(jpeg, `\n*/\n${RUN}\n/*`), 'image/jpeg'],
  'JPEG with a ZIP behind it': [after(jpeg, zip('index.html', SCRIPT)), 'image/jpeg'],
  'JPEG with a PDF behind it': [
    after(jpeg, `%PDF-1.4\n1 0 obj<</OpenAction<</S/JavaScript/JS(${RUN})>>>>endobj\n%%EOF`),
    'image/jpeg',
  ],
  'JPEG with PHP in a comment': [
    make.withSegment(jpeg, 0xfe, Buffer.from('<?php system($_GET[0]); ?>')),
    'image/jpeg',
  ],
  'PNG with HTML in a text': [make.png([make.chunk('tEXt', Buffer.from(`Comment\0${SCRIPT}`))]), 'image/png'],
  'PNG with HTML behind it': [after(png, SCRIPT), 'image/png'],
  'PNG with a ZIP behind it': [after(png, zip('index.html', SCRIPT)), 'image/png'],
  'GIF that is JavaScript': [gifOfScript(gif), 'image/gif'],
  'GIF with HTML behind it': [after(gif, SCRIPT), 'image/gif'],
  'WebP with HTML behind it': [after(webp, SCRIPT), 'image/webp'],
  'TIFF with HTML in a tag': [make.tiff({ 256: 9, 257: 9, 270: SCRIPT }), 'image/tiff'],
  'TIFF with HTML behind it': [after(tiff, SCRIPT), 'image/tiff'],
  'BMP with HTML behind it': [after(make.bmp(9, 9, 24), SCRIPT), 'image/bmp'],
  'SVG with a script': [svg(`<script>${RUN}</script>`), 'image/svg+xml'],
  'SVG with a handler': [svg(`<rect onload='${RUN}' width="9" height="9"/>`), 'image/svg+xml'],
  'SVG with HTML in it': [
    svg(`<foreignObject><body xmlns="http://www.w3.org/1999/xhtml" onload='${RUN}'/></foreignObject>`),
    'image/svg+xml',
  ],
  'SVG with a link that runs': [
    svg(`<a href='javascript:${RUN}'><rect width="9" height="9"/></a>`),
    'image/svg+xml',
  ],
  'SVG with a stylesheet that runs': [
    Buffer.from(`<?xml-stylesheet href="data:text/xsl,<x/>" type="text/xsl"?>${svg('')}`),
    'image/svg+xml',
  ],
  'SVG with a script from elsewhere': [svg('<script href="https://evil.example/a.js"/>'), 'image/svg+xml'],
}

t.test('a polyglot is served as a picture, and no part of it runs', async (t) => {
  for (const [about, [body, type]] of Object.entries(polyglots)) {
    for (const declared of ['text/html', 'application/javascript', type]) {
      const uploaded = await app.inject({
        method: 'POST',
        url: link,
        ...multipart([{ body, type: declared, filename: 'a.html' }]),
      })
      t.equal(uploaded.statusCode, 200, `${about}: ${uploaded.body}`)
      const { id } = uploaded.json().processed[0]
      for (const url of [`/images/${id}`, `/images/${id}?metadata=none`]) {
        const { statusCode, headers, rawPayload } = await app.inject(url)
        if (statusCode === 406) continue
        t.equal(statusCode, 200, about)
        t.equal(headers['content-type'], type, about)
        t.equal(headers['x-content-type-options'], 'nosniff', about)
        t.equal(
          headers['content-security-policy'],
          "default-src 'none'; style-src 'unsafe-inline'; sandbox",
          about,
        )
        t.equal(headers['access-control-allow-origin'], undefined, about)
        if (url.includes('?')) t.notOk(rawPayload.includes('<script'), `${about}: gone with the metadata`)
        else t.ok(rawPayload.equals(body), `${about}: bit by bit`)
      }
    }
  }
})

t.test('a file that only begins like a picture is rejected', async (t) => {
  for (const [about, body] of Object.entries({
    HTML: SCRIPT,
    'HTML with an SVG in it': `<!DOCTYPE html><html>${svg('')}</html>`,
    'HTML that begins like a GIF': `GIF89a${SCRIPT}`,
    'HTML that begins like a BMP': `BM${SCRIPT}`,
    'JavaScript that begins like a GIF': `GIF89a=1;${RUN}`,
    'JavaScript that begins like a BMP': `BM=1;${RUN};${' '.repeat(40)}`,
    PDF: '%PDF-1.7\n',
    'PDF with a JPEG in it': Buffer.concat([Buffer.from('%PDF-1.7\n'), jpeg]),
    ZIP: zip('a.png', String(png)),
    XHTML:
      '<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><svg xmlns="http://www.w3.org/2000/svg"/></html>',
    'a stylesheet': 'svg { background: url(https://evil.example) }',
    Flash: 'FWS\x06',
    XML: '<?xml version="1.0"?><a/>',
  })) {
    const answer = await app.inject({
      method: 'POST',
      url: link,
      ...multipart([{ body, type: 'image/png' }]),
    })
    t.equal(answer.statusCode, 415, `${about}: ${answer.body}`)
  }
})
