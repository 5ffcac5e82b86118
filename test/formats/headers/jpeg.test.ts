import { readdirSync } from 'node:fs'
import sharp from 'sharp'
import t from 'tap'
import { bytesOf } from '../../../formats/headers/bytes.ts'
import { readExif } from '../../../formats/headers/exif.ts'
import type { Header } from '../../../formats/headers/header.ts'
import { readJpeg } from '../../../formats/headers/jpeg.ts'
import { parseJpeg } from '../../../formats/headers/jpeg-header.ts'
import { readBySharp } from '../../../formats/headers/sharp.ts'
import { noSamples, sample } from '../../helpers/images.ts'
import * as make from '../../helpers/make.ts'
import { type Random, seeded } from '../../helpers/random.ts'
import { seed, times } from '../../helpers/tiers.ts'

// The reader of JPEG reads the same as libvips, or leaves a file to libvips. Exif is not compared where we follow browsers:
// libvips reads only the first of several blocks, and ignores bytes that are wrong or missing between `Exif` and the tags.

const FRONT_BYTES = 2 ** 18

/** A header with its tags, in a form that can be compared. */
const plain = async (header: Header | undefined) =>
  header &&
  Object.fromEntries(
    Object.entries({ ...header, exif: header.exif && (await readExif(header.exif)) }).filter(
      ([, value]) => value !== undefined,
    ),
  )

/** The header that our reader reads, and the one that libvips reads. */
async function both(file: Buffer) {
  const found = await readJpeg({ bytes: bytesOf(file), source: file, mediaType: 'image/jpeg' })
  const byLibvips =
    (await readBySharp(file.subarray(0, FRONT_BYTES))) ??
    (file.length > FRONT_BYTES ? await readBySharp(file) : undefined)
  const prefixes = file.toString('latin1').match(/Exif.{0,6}/gs) ?? []
  if (prefixes.length > 1 || prefixes.some((prefix) => !/^Exif\0\0(II\*\0|MM\0\*)/.test(prefix)))
    for (const header of [found, byLibvips]) delete header?.exif
  return [await plain(found), await plain(byLibvips)] as const
}

/** Whether our reader reads a JPEG without libvips. */
const isRead = (file: Buffer) => parseJpeg(file.subarray(0, FRONT_BYTES)) !== undefined

const jpeg = await make.picture().jpeg().toBuffer()
const progressive = await make.picture().jpeg({ progressive: true }).toBuffer()
const grey = await make.picture().toColourspace('b-w').jpeg().toBuffer()
const cmyk = await make.picture().toColourspace('cmyk').jpeg().toBuffer()
const profiled = await make.picture().withIccProfile('p3').jpeg().toBuffer()
const { icc } = await sharp(profiled).metadata()
const tagged = make.withXmp(make.withExif(profiled, make.exif()), make.xmp({ 'tiff:Make': 'Fabrikam' }))

const segment = (marker: number, content: Buffer) =>
  make.withSegment(jpeg, marker, content).subarray(2, -jpeg.length + 2)
const part = (number: number, of: number, profile = icc!) => {
  const size = Math.ceil(profile.length / of)
  const data = profile.subarray((number - 1) * size, number * size)
  return segment(0xe2, Buffer.concat([Buffer.from('ICC_PROFILE\0'), Buffer.of(number, of), data]))
}
const after = (file: Buffer, at: number, ...inserted: Buffer[]) =>
  Buffer.concat([file.subarray(0, at), ...inserted, file.subarray(at)])
/** A JPEG with segments right after its start. */
const withSegments = (...segments: Buffer[]) => after(jpeg, 2, ...segments)
/** A JPEG with bytes changed, counted from the first marker of that number. */
function changed(file: Buffer, marker: number, offset: number, ...values: number[]) {
  const copy = Buffer.from(file)
  copy.set(values, file.indexOf(Buffer.of(0xff, marker)) + offset)
  return copy
}
const exif = (maker: string) =>
  segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), make.tiff({ ...make.TAGS, 271: maker })]))
const xmp = (maker: string, uri = 'http://ns.adobe.com/xap/1.0/\0') =>
  segment(0xe1, Buffer.concat([Buffer.from(uri), make.xmp({ 'tiff:Make': maker })]))
const multiPicture = segment(0xe2, Buffer.concat([Buffer.from('MPF\0'), Buffer.alloc(60)]))
const gainMap = make.withXmp(
  grey,
  Buffer.from(`<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
    <rdf:Description xmlns:hdrgm="http://ns.adobe.com/hdr-gain-map/1.0/" hdrgm:Version="1.0" hdrgm:GainMapMin="0"
    hdrgm:GainMapMax="2" hdrgm:Gamma="1" hdrgm:OffsetSDR="0.015625" hdrgm:OffsetHDR="0.015625" hdrgm:HDRCapacityMin="0"
    hdrgm:HDRCapacityMax="2" hdrgm:BaseRenditionIsHDR="False"/></rdf:RDF></x:xmpmeta>`),
)

t.test('reads the tags of the first Exif block that has any, and turns like browsers', async (t) => {
  const tags = (orientation: number) => make.tiff({ 271: 'Second', 274: orientation })
  const segmentOf = (block: Buffer, prefix = 'Exif\0\0') =>
    segment(0xe1, Buffer.concat([Buffer.from(prefix, 'latin1'), block]))
  const empty = Buffer.from('4d4d002a0000ffff', 'hex')
  for (const [name, blocks, orientation] of [
    ['an empty block first', [segmentOf(Buffer.alloc(0)), segmentOf(tags(6))], 6],
    [
      'a block without a TIFF header first',
      [segmentOf(Buffer.from('garbage')), segmentOf(tags(6))],
      undefined,
    ],
    ['a block without a directory first', [segmentOf(empty), segmentOf(tags(6))], undefined],
    ['bytes before the TIFF header', [segmentOf(tags(6), 'Exif\0\0ab')], undefined],
    ['another byte after the NUL', [segmentOf(tags(6), 'Exif\0\x01')], 6],
  ] as const) {
    const { cameraMake, ...found } = await make.read(withSegments(...blocks))
    t.strictSame([cameraMake, found.orientation], ['Second', orientation], name)
  }
})

t.test('reads a usual JPEG without libvips, with the same result', async (t) => {
  for (const [name, file] of Object.entries({
    plain: jpeg,
    progressive,
    grey,
    CMYK: cmyk,
    'tags and a profile': tagged,
    'big-endian tags': make.withExif(jpeg, make.exif({ little: false })),
    'restart intervals': withSegments(segment(0xdd, Buffer.of(0, 4))),
    'a comment, an empty one, and segments of applications': withSegments(
      segment(0xfe, Buffer.from('a comment')),
      segment(0xfe, Buffer.alloc(0)),
      segment(0xe5, Buffer.alloc(9)),
      segment(0xed, Buffer.from('Photoshop 3.0\0')),
      segment(0xef, Buffer.alloc(0)),
    ),
    "Adobe's segment": withSegments(segment(0xee, Buffer.from('Adobe\0d\0\0\0\0\0'))),
    'several Exif segments': withSegments(exif('First'), exif('Second')),
    'several XMP segments': withSegments(xmp('First'), xmp('Second'), xmp('Third', 'http://else\0')),
    'an Exif segment that ends in its name': withSegments(segment(0xe1, Buffer.from('Exif\0\0'))),
    'an Exif segment that is no TIFF': withSegments(segment(0xe1, Buffer.from('Exif\0\0no tags'))),
    'an Exif segment cut short': withSegments(
      segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), make.exif().subarray(0, 60)])),
    ),
    'an Exif segment without directories': withSegments(
      segment(0xe1, Buffer.concat([Buffer.from('Exif\0\0'), make.exif().fill(0xff, 8)])),
    ),
    'segments of tags that are none': withSegments(
      segment(0xe1, Buffer.from('Exif')),
      segment(0xe1, Buffer.alloc(0)),
      segment(0xe1, Buffer.from('exif\0\0')),
      segment(0xe2, Buffer.from('ICC_PROFILE\0\x01\x01', 'latin1')),
    ),
    'a profile in parts': withSegments(part(1, 3), part(2, 3), part(3, 3)),
    'a profile out of order': withSegments(part(3, 3), part(1, 3), part(2, 3)),
    'a profile without its second part': withSegments(part(1, 3), part(3, 3)),
    'a profile without its first part': withSegments(part(2, 3), part(3, 3)),
    'a profile with a part twice': withSegments(part(1, 2), part(2, 2), part(1, 1)),
    'a profile in a part that is not counted': withSegments(
      segment(0xe2, Buffer.concat([Buffer.from('ICC_PROFILE\0'), Buffer.of(0, 1), icc!])),
    ),
    'a profile in 120 parts': withSegments(...Array.from({ length: 120 }, (_, n) => part(n + 1, 120))),
    'FFs before a marker': after(jpeg, 2, Buffer.alloc(7, 0xff)),
    '64 KiB of FFs before a marker': after(jpeg, 2, Buffer.alloc(2 ** 16, 0xff)),
    'over 64 KiB of segments': withSegments(
      exif('A'),
      segment(0xe5, Buffer.alloc(65_000)),
      segment(0xe5, Buffer.alloc(900)),
    ),
    'nothing behind its header': jpeg.subarray(0, parseJpeg(jpeg)!.end),
    'a directory of pictures, and no more pictures': withSegments(multiPicture, xmp('A')),
    'a directory of pictures, and a picture in a segment': withSegments(
      multiPicture,
      xmp('A'),
      segment(0xe5, gainMap),
    ),
    'another picture behind it': Buffer.concat([tagged, gainMap]),
    'another picture behind it, and what is too far away': Buffer.concat([
      withSegments(multiPicture, exif('A'), xmp('B')),
      Buffer.alloc(FRONT_BYTES),
      gainMap,
    ]),
    'the largest size': changed(jpeg, 0xc0, 5, 0xff, 0xdc, 0xff, 0xdc),
  })) {
    t.ok(isRead(file), `${name}: without libvips`)
    const [found, byLibvips] = await both(file)
    t.ok(byLibvips, `${name}: a JPEG`)
    t.strictSame(found, byLibvips, `${name}: as libvips reads it`)
  }
})

t.test('leaves an unusual JPEG to libvips', async (t) => {
  const scan = parseJpeg(jpeg)!.end
  const sos = jpeg.indexOf(Buffer.of(0xff, 0xda))
  const sof = jpeg.indexOf(Buffer.of(0xff, 0xc0))
  const frame = jpeg.subarray(sof, sof + 2 + jpeg.readUInt16BE(sof + 2))
  for (const [name, file] of Object.entries({
    nothing: Buffer.alloc(0),
    'a start': jpeg.subarray(0, 2),
    'no start': Buffer.from(jpeg).fill(0, 0, 1),
    'a start twice': after(jpeg, 2, jpeg.subarray(0, 2)),
    'bytes between segments': after(jpeg, 2, Buffer.from('some bytes')),
    'FF 00 between segments': after(jpeg, 2, Buffer.of(0xff, 0)),
    'a restart between segments': after(jpeg, 2, Buffer.of(0xff, 0xd0)),
    'a height of 0': changed(jpeg, 0xc0, 5, 0, 0),
    'a width of 0': changed(jpeg, 0xc0, 7, 0, 0),
    'more pixels than libjpeg takes': changed(jpeg, 0xc0, 5, 0xff, 0xff),
    '12 bits': changed(jpeg, 0xc0, 4, 12),
    'two components': changed(jpeg, 0xc0, 9, 2),
    'no sampling': changed(jpeg, 0xc0, 11, 0),
    'two components of one name': changed(jpeg, 0xc0, 13, 1),
    lossless: changed(jpeg, 0xc0, 1, 0xc3),
    'arithmetic coding': changed(jpeg, 0xc0, 1, 0xc9),
    'JPEG-LS': changed(jpeg, 0xc0, 1, 0xf7),
    'two frames': after(jpeg, sof, frame),
    'no frame': Buffer.concat([jpeg.subarray(0, sof), jpeg.subarray(sof + frame.length)]),
    'an end before its scan': after(jpeg, sos, Buffer.of(0xff, 0xd9)),
    'a scan of a component that is not there': changed(jpeg, 0xda, 5, 9),
    'a scan of more components than it has': changed(jpeg, 0xda, 4, 4),
    'a scan of none': Buffer.concat([
      jpeg.subarray(0, sos),
      Buffer.of(0xff, 0xda, 0, 6, 0, 0, 63, 0),
      jpeg.subarray(scan),
    ]),
    'a scan with a component twice': changed(jpeg, 0xda, 7, 1),
    'a table of a number too large': changed(jpeg, 0xdb, 4, 4),
    'a Huffman table of a number too large': changed(jpeg, 0xc4, 4, 4),
    'a table too long': changed(jpeg, 0xdb, 3, 70),
    'a restart interval too long': withSegments(segment(0xdd, Buffer.alloc(3))),
    'a length of 1': after(jpeg, 2, Buffer.of(0xff, 0xfe, 0, 1)),
    'conditioning of arithmetic coding': withSegments(segment(0xcc, Buffer.of(0, 0))),
    'Exif of another kind': withSegments(
      segment(0xe1, Buffer.concat([Buffer.from('Exif\0\xff', 'latin1'), make.exif()])),
    ),
    'XMP of another kind': withSegments(xmp('A', 'http://else\0'), xmp('B')),
    'an empty packet of XMP': withSegments(
      segment(0xe1, Buffer.from('http://ns.adobe.com/xap/1.0/\0')),
      xmp('B'),
    ),
    'more segments than a picture has': withSegments(...Array(1000).fill(segment(0xfe, Buffer.alloc(1)))),
    'a header of more than 256 KiB': make.longJpeg(jpeg, make.exif()),
    text: Buffer.from('\xff\xd8\xff\xe0<html>'.repeat(100), 'latin1'),
  })) {
    t.notOk(isRead(file), `${name}: by libvips`)
    t.strictSame(...(await both(file)), name)
  }
  const ultraHdr = Buffer.concat([withSegments(multiPicture, exif('A'), xmp('B')), gainMap])
  const [found, byLibvips] = await both(ultraHdr)
  t.strictSame(found, byLibvips, 'Ultra HDR')
  t.match(byLibvips, { exif: { cameraMake: 'A' }, xmp: undefined }, 'of which libvips reads no XMP')
})

t.test('reads a JPEG that is cut off anywhere in its header as libvips does', async (t) => {
  const small = make.withExif(await make.picture(8, 8).toColourspace('b-w').jpeg().toBuffer(), make.exif())
  const { end } = parseJpeg(small)!
  for (let length = 0; length <= small.length; length++) {
    const file = small.subarray(0, length)
    const [found, byLibvips] = await both(file)
    if (isRead(file) !== length >= end || JSON.stringify(found) !== JSON.stringify(byLibvips))
      t.strictSame(
        found,
        byLibvips,
        `${length} of ${end} bytes, ${isRead(file) ? 'read' : 'left to libvips'}`,
      )
  }
  t.ok(isRead(small.subarray(0, end)) && !isRead(small.subarray(0, end - 1)), 'all of it is needed')
})

const samples = new URL('../../../../shared/samples/', import.meta.url)
const photographs = noSamples
  ? []
  : readdirSync(samples)
      .filter((name) => /\.jpe?g$/i.test(name))
      .map((name) => [name, sample(name)] as const)

t.test('reads the samples as libvips does', { skip: noSamples }, async (t) => {
  let read = 0
  for (const [name, file] of photographs) {
    t.strictSame(...(await both(file)), name)
    if (isRead(file)) read++
  }
  t.ok(read > 0.8 * photographs.length, `${read} of ${photographs.length} are read without libvips`)
})

const count = times(400, 100_000)
/** Of the mutations that our reader leaves to libvips, one of so many is read by both. The others would be read by libvips twice. */
const COMPARED = times(1, 8)
t.comment(`${count} mutations, seed ${seed}`)
t.setTimeout(0)

type Mutate = (header: Buffer, random: Random) => Buffer
const place = ({ length }: Buffer, { next }: Random) => Math.floor(next() * length)
/** Where a segment begins: its marker, or a byte that looks like one. */
const placeOfSegment = (header: Buffer, random: Random) => {
  const found = header.indexOf(0xff, place(header, random))
  return found < 0 ? 0 : found
}
const ways: Mutate[] = [
  (header, random) => {
    header[place(header, random)] = Math.floor(random.next() * 256)
    return header
  },
  (header, random) => {
    const at = placeOfSegment(header, random) + Math.floor(random.next() * 16)
    if (at < header.length)
      header[at] = random.pick([
        0,
        1,
        2,
        3,
        4,
        8,
        17,
        0xc0,
        0xd8,
        0xe1,
        0xff,
        Math.floor(random.next() * 256),
      ])
    return header
  },
  (header, random) => {
    const at = placeOfSegment(header, random)
    if (at + 1 < header.length) header[at + 1] = 0xc0 + Math.floor(random.next() * 64)
    return header
  },
  (header, random) =>
    after(
      header,
      place(header, random),
      Buffer.alloc(1 + Math.floor(random.next() * 4), random.pick([0, 0xff])),
    ),
  (header, random) => {
    const at = place(header, random)
    return Buffer.concat([header.subarray(0, at), header.subarray(at + 1 + Math.floor(random.next() * 4))])
  },
  (header, random) => {
    const [from, to] = [placeOfSegment(header, random), placeOfSegment(header, random)]
    const length = from + 4 <= header.length ? header.readUInt16BE(from + 2) + 2 : 0
    return after(header, to, header.subarray(from, from + length))
  },
]

t.test('reads a header with random changes as libvips does', async (t) => {
  const random = seeded(seed)
  const files = [
    jpeg,
    progressive,
    grey,
    cmyk,
    tagged,
    withSegments(exif('First'), part(1, 2), xmp('A'), exif('Second'), part(2, 2), xmp('B'), multiPicture),
    ...photographs.map(([, file]) => file).filter(({ length }) => length < 20_000),
  ]
  const seen = { read: 0, left: 0, none: 0 }
  for (let made = 0; made < count; made++) {
    const original = random.pick(files)
    const end = parseJpeg(original)?.end ?? 1000
    let header = Buffer.from(original.subarray(0, end))
    for (let changes = random.pick([1, 1, 2, 4]); changes > 0; changes--)
      header = Buffer.from(random.pick(ways)(header, random))
    const file = Buffer.concat([header, original.subarray(end)])
    const isOurs = isRead(file)
    if (!isOurs && made % COMPARED > 0) continue
    const [found, byLibvips] = await both(file)
    if (!byLibvips) seen.none++
    else if (isOurs) seen.read++
    else seen.left++
    if (JSON.stringify(found) !== JSON.stringify(byLibvips))
      t.strictSame(found, byLibvips, `mutation ${made}: ${header.toString('base64')}`)
  }
  t.comment(JSON.stringify(seen))
  t.ok(
    Object.values(seen).every((times) => times > count / (20 * COMPARED)),
    'all three kinds occur',
  )
})
