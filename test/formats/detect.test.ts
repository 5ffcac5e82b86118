import { gzipSync } from 'node:zlib'
import t from 'tap'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { readMetadata } from '../../formats/metadata.ts'
import * as make from '../helpers/make.ts'

const named = async (file: Buffer) => {
  const found = await sniff(file.subarray(0, HEAD_BYTES))
  return found && `${found.format} ${found.mediaType}`
}

const jpeg = await make.picture().jpeg().toBuffer()
const svg = '<svg xmlns="http://www.w3.org/2000/svg"/>'
const ROOMY = 'a comment of some length '.repeat(20)

const files: [name: string, Buffer][] = [
  ['JPEG image/jpeg', jpeg],
  ['PNG image/png', await make.picture().png().toBuffer()],
  ['APNG image/apng', make.png([make.chunk('acTL', Buffer.alloc(8, 1)), make.frameControl(1, 10)])],
  ['GIF image/gif', await make.animation(2).gif().toBuffer()],
  ['WebP image/webp', await make.picture().webp().toBuffer()],
  ['WebP image/webp', await make.animation(2).webp().toBuffer()],
  ['AVIF image/avif', await make.picture().avif().toBuffer()],
  ['AVIF image/avif', make.sequence('avis', 3, 75, 25)],
  ['HEIC image/heic', make.heif('heic')],
  ['HEIC image/heic', make.heif('heix')],
  ['HEIC image/heic-sequence', make.sequence('hevc', 3, 75, 25)],
  ['HEIF image/heif', make.heif('mif1')],
  ['HEIF image/heif-sequence', make.sequence('msf1', 3, 75, 25)],
  ['TIFF image/tiff', await make.picture().tiff().toBuffer()],
  ['TIFF image/tiff', make.tiff({ 256: 1, 257: 1 }, { little: false })],
  ['TIFF image/tiff', make.tiff({ 256: 1, 257: 1 }, { big: true })],
  ['TIFF image/tiff', make.tiff({ 256: 1, 257: 1 }, { big: true, little: false })],
  ['BMP image/bmp', make.bmp(3, 2, 24)],
  ['BMP image/bmp', make.os2Bmp(3, 2)],
  ['ICO image/x-icon', make.ico([16, 16])],
  ['SVG image/svg+xml', Buffer.from(svg)],
  ['JPEG XL image/jxl', make.jxlCodestream([1, 1])],
  ['JPEG XL image/jxl', make.jxl()],
  ['JPEG 2000 image/jp2', make.jp2()],
  ['JPEG 2000 image/j2c', make.j2c()],
  ['JPEG 2000 image/jph', Buffer.from(make.jp2().toString('latin1').replace('jp2 ', 'jph '), 'latin1')],
  ['PSD image/vnd.adobe.photoshop', make.psd()],
  ['DNG image/x-adobe-dng', make.tiff({ 256: 1, 257: 1, 50706: Buffer.from([1, 4, 0, 0]) })],
  ['CR2 image/x-canon-cr2', canonRaw()],
  ['CR3 image/x-canon-cr3', make.cr3()],
  ['NEF image/x-nikon-nef', make.tiff({ 271: 'NIKON CORPORATION', 330: { 256: 9, 257: 9, 262: 32803 } })],
  ['ARW image/x-sony-arw', make.tiff({ 271: 'SONY', 330: { 256: 9, 257: 9, 259: 32767 } })],
  ['ORF image/x-olympus-orf', make.tiff({ 256: 1, 257: 1 }, { magic: 0x4f52 })],
  ['ORF image/x-olympus-orf', make.tiff({ 256: 1, 257: 1 }, { magic: 0x5352 })],
  ['ORF image/x-olympus-orf', make.tiff({ 256: 1, 257: 1 }, { magic: 0x4f52, little: false })],
  ['RW2 image/x-panasonic-rw2', make.tiff({ 4: 0, 5: 0, 6: 9, 7: 9 }, { magic: 0x55 })],
  ['RAF image/x-fujifilm-raf', make.raf(jpeg)],
]

function canonRaw() {
  const file = make.tiff({ 256: 1, 257: 1 }, { at: 16 })
  file.write('CR\x02\0', 8, 'latin1')
  return file
}

t.test('detects each format by its first bytes', async (t) => {
  for (const [name, file] of files) t.equal(await named(file), name, name)
})

t.test(
  'detects the same format by the head as by the whole file, and accepts a head of any length',
  async (t) => {
    for (const [name, file] of files) {
      const padded = Buffer.concat([file, Buffer.alloc(2 * HEAD_BYTES)])
      t.equal(await named(padded), name, `${name}, the first ${HEAD_BYTES} bytes`)
      const lengths = Array.from({ length: 300 }, (_, length) => length)
      const verdicts = await Promise.allSettled(lengths.map((length) => sniff(file.subarray(0, length))))
      t.notOk(
        verdicts.find(({ status }) => status === 'rejected'),
        `${name}, its first 0 to 299 bytes`,
      )
    }
  },
)

t.test('ignores the memory around a buffer', async (t) => {
  const around = Buffer.concat([Buffer.from('GIF89a'), Buffer.from(svg), Buffer.from('%PDF-')])
  const within = new Uint8Array(around.buffer, around.byteOffset + 6, svg.length)
  t.match(await sniff(within), { format: 'SVG' })
})

t.test('detects no format in a file that is no image', async (t) => {
  const text = (content: string) => Buffer.from(content)
  for (const [name, file] of Object.entries({
    nothing: Buffer.alloc(0),
    'one byte': text('G'),
    zeros: Buffer.alloc(5000),
    text: text('An ordinary letter. '.repeat(300)),
    'text that begins like a bitmap': text('BMW and Mercedes build cars, '.repeat(20)),
    'text that begins like a GIF': text('GIFT ideas for everyone, '.repeat(20)),
    'text that begins like a Photoshop file': text('8BPS is how a Photoshop file begins. '.repeat(20)),
    'text that begins like a TIFF': text('II* and MM* are the marks of TIFF.'),
    json: text('{"image":"jpeg"}'),
    pdf: text('%PDF-1.7\n%\xe2\xe3\xcf\xd3\n'),
    zip: text('PK\x03\x04\x14\0\0\0\0\0'),
    gzip: gzipSync(text(svg)),
    html: text(`<!DOCTYPE html><html><body>${svg}</body></html>`),
    'html without a head': text(`<html><body>${svg}</body></html>`),
    'html that says to be SVG': text(`<!DOCTYPE html>${svg}`),
    xml: text(`<?xml version="1.0"?><note>${svg}</note>`),
    'xml with a name that begins like SVG': text('<svgs/>'),
    'SVG in a comment': text(`<!-- ${svg} --><note/>`),
    'SVG in a document type': text(`<!DOCTYPE note [<!ENTITY a '${svg}'>]><note/>`),
    'SVG in a document type in HTML': text(`<!DOCTYPE html [<!-- ${svg} --> ]>${svg}`),
    'a document type without an end': text(`<!DOCTYPE svg [<!ENTITY a '>${svg}`),
    'SVG after text': text(`Look: ${svg}`),
    mp4: Buffer.concat([make.ftyp('isom', 'mp41'), make.box('moov')]),
    'a sound': text('RIFF\x24\0\0\0WAVEfmt '),
    'JPEG-LS': Buffer.from([0xff, 0xd8, 0xff, 0xf7, 0, 11, 8, 0, 1, 0, 1, 1, 1, 0x11, 0]),
    'Targa, which begins like a cursor': Buffer.from([
      0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 32, 0, 24, 0, 0, 0, 0, 0, 0,
    ]),
    'an icon without a picture': make.ico(),
    'a cursor': Buffer.from(make.ico([16, 16]).with(2, 2)),
  }))
    t.equal(await named(file), undefined, name)
})

t.test('detects SVG behind everything that XML allows before the root element', async (t) => {
  const utf16 = (content: string) => Buffer.from(content, 'utf16le')
  for (const [name, file] of Object.entries({
    'a declaration': '<?xml version="1.0" encoding="UTF-8" standalone="no"?>\n',
    comments: `<!-- ${ROOMY} --><!-- - -> <html> <!-- -->\n\n<!---->`,
    'a document type':
      '<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">',
    'a document type with entities': `<!DOCTYPE svg [
      <!ENTITY ns_svg "http://www.w3.org/2000/svg"> <!-- don't ] --> <!ENTITY a ']>'>
    ] >`,
    'a style sheet': '<?xml-stylesheet href="a.css" type="text/css"?>',
    'a byte order mark': '\ufeff',
    blanks: ' \n\t\r\n',
  })) {
    t.match(await sniff(Buffer.from(file + svg)), { format: 'SVG' }, name)
    t.match(
      await sniff(utf16(`\ufeff${file.replace('\ufeff', '')}${svg}`)),
      { format: 'SVG' },
      `${name}, UTF-16`,
    )
  }
  t.match(await sniff(utf16(`\ufeff${svg}`).swap16()), { format: 'SVG' }, 'UTF-16, big-endian')
  t.match(await sniff(utf16(svg)), { format: 'SVG' }, 'UTF-16 without a mark')
  t.match(
    await sniff(Buffer.from('<s:svg xmlns:s="http://www.w3.org/2000/svg"/>')),
    { format: 'SVG' },
    'a prefix',
  )
})

t.test('a compatible brand that is more precise than a general major brand decides', async (t) => {
  const branded = async (...brands: string[]) => (await sniff(make.ftyp(...brands)))?.mediaType
  t.equal(await branded('mif1', 'mif1', 'avif', 'miaf'), 'image/avif')
  t.equal(await branded('mif1', 'mif1', 'heic'), 'image/heif')
  t.equal(await branded('msf1', 'avis'), 'image/avif')
  t.equal(await branded('heic', 'mif1'), 'image/heic')
  t.equal(await branded('MiHB', 'mif1', 'heic'), 'image/heif')
  t.equal(await branded('mp42', 'isom'), undefined)
  t.equal(await branded('qt  ', 'qt  '), undefined)
})

t.test('the tags of a file that begins like a TIFF decide its format', async (t) => {
  const size = { 256: 9, 257: 9 }
  const printed = { ...size, 50341: Buffer.from('PrintIM\x000300') }
  t.match(await sniff(make.tiff(printed)), { format: 'TIFF' }, 'a tag of Sony and of others')
  t.match(await sniff(make.tiff({ ...printed, 271: 'PENTAX' })), { format: 'TIFF' })
  t.match(await sniff(make.tiff({ ...size, 271: 'NIKON', 262: 2 })), { format: 'TIFF' }, 'a scan')
  t.match(await sniff(make.tiff({ ...size, 271: 'SONY', 262: 2 })), { format: 'TIFF' })

  const many = Object.fromEntries(Array.from({ length: 25 }, (_, i) => [1000 + i, 1]))
  const likeNef = { 254: 0, ...size, ...many }
  t.match(await sniff(make.tiff(likeNef)), { format: 'TIFF' }, 'as many tags as NEF has')

  const far = make.tiff({ ...size, 271: 'NIKON', 330: { ...size, 262: 32803 } }, { at: 2 * HEAD_BYTES })
  const format = await sniff(far.subarray(0, HEAD_BYTES))
  t.match(format, { format: 'TIFF' }, 'a directory beyond the head')
  t.match(await readMetadata(far, format!), { format: 'NEF', mediaType: 'image/x-nikon-nef' })
})

t.test('reads the animation chunk of a PNG beyond the head', async (t) => {
  const note = make.chunk('tEXt', Buffer.concat([Buffer.from('Comment\0'), Buffer.alloc(HEAD_BYTES, 0x20)]))
  const file = make.png([note, make.chunk('acTL', Buffer.from([0, 0, 0, 2, 0, 0, 0, 0]))])
  const format = await sniff(file.subarray(0, HEAD_BYTES))
  t.match(format, { format: 'PNG' })
  t.match(await readMetadata(file, format!), { format: 'APNG', mediaType: 'image/apng', frames: 2 })
})
