import { crc32, deflateSync } from 'node:zlib'
import sharp, { type Sharp } from 'sharp'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { readMetadata } from '../../formats/metadata.ts'

// Makes small images of every format byte by byte, so that a test shows which bytes a reader uses.

/** Detects the format by the head and reads the metadata, as callers do. */
export async function read(file: Buffer) {
  const format = await sniff(file.subarray(0, HEAD_BYTES))
  if (!format) throw new Error('no image format was detected')
  return readMetadata(file, format)
}

/** A picture with a red corner at its top left, so that a turned picture differs from an upright one. */
export const picture = (width = 48, height = 32) => {
  const pixels = Buffer.alloc(width * height * 3)
  for (let i = 0; i < width * height; i++) {
    const [x, y] = [i % width, Math.floor(i / width)]
    pixels.set([x < width / 3 && y < height / 3 ? 255 : x * 3, y * 5, 60], i * 3)
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } })
}

/** A frame of an animation is 16 pixels high. */
export const animation = (frames: number) =>
  sharp(Buffer.from(Array.from({ length: 16 * 16 * frames * 3 }, (_, i) => (i * i) % 251)), {
    raw: { width: 16, height: 16 * frames, channels: 3, pageHeight: 16 },
  })

type Value = string | number | number[] | [numerator: number, denominator: number][] | Buffer | Typed | Tags
/** Values of a type of their own, as signed numbers (TIFF 6.0 §2). */
export interface Typed {
  type: number
  numbers: number[]
}
/** Tags by their numbers. A set of tags as a value becomes a directory of its own. */
export interface Tags {
  [tag: number]: Value
}

export interface TiffOptions {
  little?: boolean
  big?: boolean
  /** The number after the byte order. */
  magic?: number
  /** Further pages. */
  pages?: Tags[]
  /** Where the first directory is. */
  at?: number
}

/**
 * A TIFF file, or a block of Exif: LONGs for numbers (a SHORT for the orientation), RATIONALs for pairs, ASCII for text,
 * BYTEs for a buffer, and the type that is given for a value with a type.
 */
export function tiff(tags: Tags, { little = true, big = false, magic, pages = [], at }: TiffOptions = {}) {
  const width = big ? 8 : 4
  const chunks: Buffer[] = []
  let end = 0
  const append = (chunk: Buffer) => {
    chunks.push(chunk)
    end += chunk.length
    return end - chunk.length
  }
  const uint = (value: number, size: number) => {
    const bytes = Buffer.alloc(size)
    if (size === 8) bytes.writeBigUInt64LE(BigInt(value))
    else bytes.writeUIntLE(value, 0, size)
    return little ? bytes : bytes.reverse()
  }
  const encodeTyped = ({ type, numbers }: Typed): [type: number, count: number, Buffer] => {
    const size = { 1: 1, 3: 2, 4: 4, 9: 4, 10: 4 }[type]!
    const bytes = numbers.map((number) => uint(number < 0 ? number + 2 ** (8 * size) : number, size))
    return [type, type === 10 ? numbers.length / 2 : numbers.length, Buffer.concat(bytes)]
  }
  const encode = (value: Value, tag = 0): [type: number, count: number, Buffer] => {
    if (tag === 274 && typeof value === 'number') return [3, 1, uint(value, 2)]
    if (typeof value === 'string') return [2, Buffer.byteLength(value) + 1, Buffer.from(`${value}\0`)]
    if (Buffer.isBuffer(value)) return [1, value.length, value]
    if (typeof value === 'number') return [4, 1, uint(value, 4)]
    if ('numbers' in value) return encodeTyped(value as Typed)
    if (!Array.isArray(value)) return [4, 1, uint(append(directory(value, 0)), 4)]
    const parts = value.map((one) =>
      Array.isArray(one) ? Buffer.concat(one.map((half) => uint(half, 4))) : uint(one, 4),
    )
    return [Array.isArray(value[0]) ? 5 : 4, value.length, Buffer.concat(parts)]
  }
  const directory = (entries: Tags, next: number) => {
    const table = Object.entries(entries).map(([tag, value]) => {
      const [type, count, bytes] = encode(value, Number(tag))
      const slot = Buffer.alloc(width)
      if (bytes.length <= width) bytes.copy(slot)
      else uint(append(bytes), width).copy(slot)
      return Buffer.concat([uint(Number(tag), 2), uint(type, 2), uint(count, width), slot])
    })
    return Buffer.concat([uint(table.length, big ? 8 : 2), ...table, uint(next, width)])
  }
  const header = Buffer.concat([
    Buffer.from(little ? 'II' : 'MM'),
    uint(magic ?? (big ? 43 : 42), 2),
    ...(big ? [uint(8, 2), uint(0, 2)] : []),
  ])
  append(Buffer.alloc(at ?? header.length + width))
  const first = [tags, ...pages].reduceRight((next, page) => append(directory(page, next)), 0)
  const file = Buffer.concat(chunks)
  Buffer.concat([header, uint(first, width)]).copy(file)
  return file
}

/** Camera, time and place as Exif has them, and the metadata that has to be read of them. */
export const TAGS: Tags = {
  271: 'Contoso',
  272: 'C-1',
  274: 6,
  34665: {
    36867: '2021:03:04 05:06:07',
    36881: '+05:30',
    42036: 'C 50mm F1.8',
  },
  34853: {
    1: 'S',
    2: [
      [12, 1],
      [30, 1],
      [36, 1],
    ],
    3: 'E',
    4: [
      [98, 1],
      [45, 1],
      [0, 1],
    ],
    5: Buffer.from([1]),
    6: [[25, 2]],
  },
}
export const READ_TAGS = {
  orientation: 6,
  cameraMake: 'Contoso',
  cameraModel: 'C-1',
  takenAt: '2021-03-04T05:06:07',
  takenOffset: '+05:30',
  lens: 'C 50mm F1.8',
  latitude: -12.51,
  longitude: 98.75,
  altitude: -12.5,
}
// For patterns in which a field must be absent.
export const BLANK = Object.fromEntries(
  [
    ...Object.keys(READ_TAGS),
    'width',
    'height',
    'frames',
    'duration',
    'bitDepth',
    'hasAlpha',
    'colourSpace',
  ].map((name) => [name, undefined]),
)

export const exif = (options?: TiffOptions) => tiff(TAGS, options)

/** An XMP packet with these properties, as attributes. */
export const xmp = (properties: Record<string, string>) =>
  Buffer.from(
    `<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">
    <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
    xmlns:tiff="http://ns.adobe.com/tiff/1.0/" xmlns:exif="http://ns.adobe.com/exif/1.0/"
    ${Object.entries(properties)
      .map(([name, value]) => `${name}="${value}"`)
      .join(' ')}/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`,
  )

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
const u16 = (value: number) => u32(value).subarray(2)

/** A JPEG with a segment right after its start. */
export const withSegment = (jpeg: Buffer, marker: number, content: Buffer) =>
  Buffer.concat([
    jpeg.subarray(0, 2),
    Buffer.from([0xff, marker]),
    u16(content.length + 2),
    content,
    jpeg.subarray(2),
  ])
export const withExif = (jpeg: Buffer, block: Buffer) =>
  withSegment(jpeg, 0xe1, Buffer.concat([Buffer.from('Exif\0\0'), block]))
export const withXmp = (jpeg: Buffer, packet: Buffer) =>
  withSegment(jpeg, 0xe1, Buffer.concat([Buffer.from('http://ns.adobe.com/xap/1.0/\0'), packet]))

/** More than 256 KiB of segments before the picture. */
export function longJpeg(jpeg: Buffer, block: Buffer) {
  let file = withExif(jpeg, block)
  for (let i = 0; i < 5; i++) file = withSegment(file, 0xe5, Buffer.alloc(65_000))
  return file
}

/** Writes the tags with libvips, which has no altitude below the sea. */
export function tagged(image: Sharp) {
  return image
    .withExif({
      IFD0: { Make: 'Contoso', Model: 'C-1' },
      IFD2: {
        DateTimeOriginal: '2021:03:04 05:06:07',
        OffsetTimeOriginal: '+05:30',
        LensModel: 'C 50mm F1.8',
      },
      IFD3: {
        GPSLatitudeRef: 'S',
        GPSLatitude: '12/1 30/1 36/1',
        GPSLongitudeRef: 'E',
        GPSLongitude: '98/1 45/1 0/1',
        GPSAltitude: '25/2',
      },
    })
    .withMetadata({ orientation: 6 })
    .toBuffer()
}

const PNG_SIGNATURE = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1')
export const chunk = (type: string, data = Buffer.alloc(0)) => {
  const typed = Buffer.concat([Buffer.from(type), data])
  return Buffer.concat([u32(data.length), typed, u32(crc32(typed))])
}
/** A grey PNG of 2 by 1 pixels with chunks before its pixels, and after them. */
export const png = (before: Buffer[] = [], after: Buffer[] = []) =>
  Buffer.concat([
    PNG_SIGNATURE,
    chunk('IHDR', Buffer.from([0, 0, 0, 2, 0, 0, 0, 1, 8, 0, 0, 0, 0])),
    ...before,
    chunk('IDAT', deflateSync(Buffer.from([0, 1, 2]))),
    ...after,
    chunk('IEND'),
  ])
/** The control chunk of a frame with a delay of `numerator / denominator` seconds. */
export const frameControl = (numerator: number, denominator: number) =>
  chunk(
    'fcTL',
    Buffer.concat([u32(0), u32(2), u32(1), u32(0), u32(0), u16(numerator), u16(denominator), u16(0)]),
  )

export const box = (type: string, ...content: Buffer[]) => {
  const bytes = Buffer.concat(content)
  return Buffer.concat([u32(bytes.length + 8), Buffer.from(type, 'latin1'), bytes])
}
const fullBox = (type: string, ...content: Buffer[]) => box(type, u32(0), ...content)
export const ftyp = (...brands: string[]) =>
  box('ftyp', Buffer.from(brands[0]!), u32(0), Buffer.from(brands.slice(1).join('')))

/** HEIF's boxes without a picture: its size, and further properties in their order. */
export const heif = (brand: string, properties: Buffer[] = []) =>
  Buffer.concat([
    ftyp(brand, 'mif1'),
    fullBox(
      'meta',
      fullBox('pitm', u16(1)),
      box(
        'iprp',
        box(
          'ipco',
          // Another item's size comes first, as a thumbnail's may.
          fullBox('ispe', u32(8), u32(8)),
          fullBox('ispe', u32(48), u32(32)),
          ...properties,
        ),
        fullBox(
          'ipma',
          u32(2),
          u16(2),
          Buffer.from([1, 1]),
          u16(1),
          Buffer.from([1 + properties.length, 2, ...properties.map((_, i) => 0x80 | (i + 3))]),
        ),
      ),
    ),
  ])
export const irot = (quarters: number) => box('irot', Buffer.from([quarters]))
export const imir = (axis: number) => box('imir', Buffer.from([axis]))
export const nclx = (primaries: number, transfer: number) =>
  box('colr', Buffer.from('nclx'), u16(primaries), u16(transfer), u16(0), Buffer.from([0x80]))

/** A sequence of pictures that lasts `units / scale` seconds. */
export const sequence = (brand: string, frames: number, units: number, scale: number) =>
  Buffer.concat([
    ftyp(brand, 'msf1'),
    box(
      'moov',
      box(
        'trak',
        fullBox('tkhd', Buffer.alloc(72), u32(48 << 16), u32(32 << 16)),
        box(
          'mdia',
          fullBox('mdhd', u32(0), u32(0), u32(scale), u32(units), u32(0)),
          fullBox('hdlr', u32(0), Buffer.from('pict'), Buffer.alloc(13)),
          box('minf', box('stbl', fullBox('stsz', u32(0), u32(frames)))),
        ),
      ),
    ),
  ])

/** A sequence without a still picture, whose frames are these stills: AVIF of one item, or HEIC (ISO/IEC 23008-12 §7). */
export function sequenceOf(stills: Buffer[], { brand, coding, configuration }: SequenceCoding) {
  const [first] = stills as [Buffer]
  const contentOf = (file: Buffer, type: string) => {
    const at = file.indexOf(type, 0, 'latin1') - 4
    return file.subarray(at + 8, at + file.readUInt32BE(at))
  }
  const frames = stills.map((still) => contentOf(still, 'mdat'))
  const size = contentOf(first, 'ispe')
  const [width, height] = [size.readUInt32BE(4), size.readUInt32BE(8)]
  const entry = box(
    coding,
    Buffer.concat([Buffer.alloc(6), u16(1), Buffer.alloc(16), u16(width), u16(height), Buffer.alloc(50)]),
    box(configuration, contentOf(first, configuration)),
  )
  const movieAt = (offset: number) =>
    box(
      'moov',
      box(
        'trak',
        fullBox('tkhd', Buffer.alloc(72), u32(width << 16), u32(height << 16)),
        box(
          'mdia',
          fullBox('mdhd', u32(0), u32(0), u32(10), u32(frames.length), u32(0)),
          fullBox('hdlr', u32(0), Buffer.from('pict'), Buffer.alloc(13)),
          box(
            'minf',
            box(
              'stbl',
              fullBox('stsd', u32(1), entry),
              fullBox('stsc', u32(1), u32(1), u32(frames.length), u32(1)),
              fullBox('stsz', u32(0), u32(frames.length), ...frames.map(({ length }) => u32(length))),
              fullBox('stco', u32(1), u32(offset)),
            ),
          ),
        ),
      ),
    )
  const head = ftyp(brand, 'msf1')
  const offset = head.length + movieAt(0).length + 8
  return Buffer.concat([head, movieAt(offset), box('mdat', ...frames)])
}

export interface SequenceCoding {
  brand: 'avis' | 'hevc'
  coding: 'av01' | 'hvc1'
  configuration: 'av1C' | 'hvcC'
}

/** A PSD of one kind: its colour mode, and the planes of its merged picture. */
export const mergedPsd = (
  mode: number,
  bits: number,
  size: { width: number; height: number },
  planes: Buffer[],
) =>
  Buffer.concat([
    Buffer.from('8BPS\0\x01', 'latin1'),
    Buffer.alloc(6),
    u16(planes.length),
    u32(size.height),
    u32(size.width),
    u16(bits),
    u16(mode),
    Buffer.alloc(12),
    u16(0),
    ...planes,
  ])

/** An AVIF that libheif turns: properties are inserted into its boxes. */
export function turnAvif(avif: Buffer, properties: Buffer[]) {
  const at = (type: string) => avif.indexOf(type, 0, 'latin1') - 4
  const [meta, iloc, iprp, ipco, ipma] = [at('meta'), at('iloc'), at('iprp'), at('ipco'), at('ipma')]
  const there = avif.readUInt8(ipma + 18)
  const indices = Buffer.from(properties.map((_, i) => 0x80 | (there + 1 + i)))
  const inserted = Buffer.concat(properties)
  const associated = ipma + 19 + there
  const turned = Buffer.concat([
    avif.subarray(0, ipma),
    inserted,
    avif.subarray(ipma, associated),
    indices,
    avif.subarray(associated),
  ])
  const grow = (place: number, by: number) => turned.writeUInt32BE(turned.readUInt32BE(place) + by, place)
  const both = inserted.length + indices.length
  grow(meta, both)
  grow(iprp, both)
  grow(ipco, inserted.length)
  grow(ipma + inserted.length, indices.length)
  turned.writeUInt8(there + properties.length, ipma + inserted.length + 18)
  grow(iloc + 20, both)
  return turned
}

const uuid = (hex: string, ...content: Buffer[]) => box('uuid', Buffer.from(hex, 'hex'), ...content)

/** Canon's CR3: the directories of Exif are in boxes of their own. */
export const cr3 = () => {
  const { 0x8769: exifTags, 0x8825: gpsTags, ...main } = TAGS
  return Buffer.concat([
    ftyp('crx ', 'isom'),
    box(
      'moov',
      uuid(
        '85c0b687820f11e08111f4ce462b6a48',
        box('CMT1', tiff({ 256: 6000, 257: 4000, ...main })),
        box('CMT2', tiff(exifTags as Tags)),
        box('CMT4', tiff(gpsTags as Tags)),
      ),
    ),
  ])
}

/** Fujifilm's RAF around a JPEG. */
export const raf = (jpeg: Buffer) => {
  const sizes = Buffer.concat([u32(1), u16(0x111), u16(4), u16(2848), u16(4256)])
  const head = Buffer.alloc(160)
  head.write('FUJIFILMCCD-RAW 0201')
  Buffer.concat([u32(160), u32(jpeg.length), u32(160 + jpeg.length), u32(sizes.length)]).copy(head, 84)
  return Buffer.concat([head, jpeg, sizes])
}

export const psd = (resources: [id: number, Buffer][] = [], channels = 3) => {
  const blocks = resources.map(([id, data]) =>
    Buffer.concat([
      Buffer.from('8BIM'),
      u16(id),
      u16(0),
      u32(data.length),
      data,
      Buffer.alloc(data.length & 1),
    ]),
  )
  const all = Buffer.concat(blocks)
  return Buffer.concat([
    Buffer.from('8BPS'),
    u16(1),
    Buffer.alloc(6),
    u16(channels),
    u32(32),
    u32(48),
    u16(16),
    u16(3),
    u32(0),
    u32(all.length),
    all,
  ])
}

export const bmp = (width: number, height: number, pixelBits: number) => {
  const rowBytes = Math.ceil((Math.max(width, 0) * pixelBits) / 32) * 4
  const bytes = Buffer.alloc(54 + rowBytes * Math.abs(height))
  bytes.write('BM')
  bytes.writeUInt32LE(54, 10)
  bytes.writeUInt32LE(40, 14)
  bytes.writeInt32LE(width, 18)
  bytes.writeInt32LE(height, 22)
  bytes.writeUInt16LE(1, 26)
  bytes.writeUInt16LE(pixelBits, 28)
  return bytes
}
export const os2Bmp = (width: number, height: number) => {
  const bytes = Buffer.alloc(30)
  bytes.write('BM')
  bytes.writeUInt32LE(12, 14)
  bytes.writeUInt16LE(width, 18)
  bytes.writeUInt16LE(height, 20)
  bytes.writeUInt16LE(1, 22)
  bytes.writeUInt16LE(24, 24)
  return bytes
}

/** An icon in these sizes, each of one byte. */
export const ico = (...sizes: [width: number, height: number][]) => {
  const head = Buffer.alloc(6 + 16 * sizes.length)
  head.writeUInt16LE(1, 2)
  head.writeUInt16LE(sizes.length, 4)
  sizes.forEach(([width, height], i) => {
    const at = 6 + 16 * i
    head[at] = width
    head[at + 1] = height
    head.writeUInt32LE(1, at + 8)
    head.writeUInt32LE(head.length, at + 12)
  })
  return Buffer.concat([head, Buffer.alloc(1)])
}

export const jp2 = (...more: Buffer[]) =>
  Buffer.concat([
    box('jP  ', Buffer.from('\r\n\x87\n', 'latin1')),
    ftyp('jp2 ', 'jp2 '),
    box(
      'jp2h',
      box('ihdr', u32(32), u32(48), u16(4), Buffer.from([11, 7, 0, 0])),
      box('colr', Buffer.from([1, 0, 0]), u32(16)),
      box('cdef', u16(1), u16(3), u16(1), u16(0)),
    ),
    ...more,
  ])
export const jp2Exif = (block: Buffer) => uuid('4a706754696666457869662d3e4a5032', block)
/** The start of a JPEG 2000 codestream: a picture of 48 x 32 in an area that begins at 2, 3. */
export const j2c = () =>
  Buffer.concat([
    Buffer.from([0xff, 0x4f, 0xff, 0x51]),
    u16(41),
    u16(0),
    u32(50),
    u32(35),
    u32(2),
    u32(3),
    u32(48),
    u32(32),
    u32(0),
    u32(0),
    u16(1),
    Buffer.from([9, 1, 1]),
  ])

/** The header of a JPEG XL codestream from `[value, bits]` pairs, lowest bit first. */
export const jxlCodestream = (...fields: [value: number, bits: number][]) => {
  const bits = fields.flatMap(([value, count]) => Array.from({ length: count }, (_, i) => (value >> i) & 1))
  const bytes = Buffer.alloc(Math.ceil(bits.length / 8) + 8)
  bits.forEach((bit, i) => {
    bytes[i >> 3]! |= bit << (i & 7)
  })
  return Buffer.concat([Buffer.from([0xff, 0x0a]), bytes])
}
export const jxl = (...boxes: Buffer[]) =>
  Buffer.concat([box('JXL ', Buffer.from('\r\n\x87\n', 'latin1')), ftyp('jxl ', 'jxl '), ...boxes])

/** Pseudo-random numbers from 0 to below 1, the same in each run (mulberry32). */
export function random(seed: number) {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** A small file of each format, with tags where the format has them. */
export async function everyFormat(): Promise<Record<string, Buffer>> {
  const block = exif()
  const jpeg = await picture().jpeg().toBuffer()
  return {
    JPEG: withXmp(
      withExif(await picture().withIccProfile('p3').jpeg().toBuffer(), block),
      xmp({ 'tiff:Make': 'M' }),
    ),
    PNG: png([chunk('eXIf', block), chunk('acTL', Buffer.alloc(8, 1)), frameControl(1, 2)]),
    GIF: await animation(3).gif().toBuffer(),
    WebP: await tagged(animation(3).webp()),
    AVIF: turnAvif(await tagged(picture().avif()), [irot(1), imir(0)]),
    HEIC: heif('heic', [nclx(1, 13), irot(1)]),
    sequence: sequence('avis', 3, 75, 25),
    TIFF: tiff({ 256: 9, 257: 9, ...TAGS }, { pages: [{ 256: 9, 257: 9 }] }),
    BigTIFF: tiff({ 256: 9, 257: 9, ...TAGS }, { big: true, little: false }),
    NEF: tiff({
      271: 'NIKON',
      330: { 256: 9, 257: 9, 262: 32803 },
      34665: { 36867: '2021:03:04 05:06:07' },
    }),
    ORF: tiff({ 256: 9, 257: 9, ...TAGS }, { magic: 0x4f52 }),
    RW2: tiff({ 4: 0, 5: 0, 6: 9, 7: 9, ...TAGS }, { magic: 0x55 }),
    CR3: cr3(),
    RAF: raf(withExif(jpeg, block)),
    PSD: psd([
      [1058, block],
      [1060, xmp({ 'tiff:Model': 'M' })],
    ]),
    BMP: bmp(9, 9, 24),
    ICO: ico([16, 16], [32, 32]),
    SVG: Buffer.from(
      '<?xml version="1.0"?><!DOCTYPE svg [<!ENTITY a "b">]><!-- c --><svg width="9" height="9"/>',
    ),
    'JPEG XL': jxl(
      box('jxlc', jxlCodestream([1, 1], [1, 5], [1, 3], [0, 1], [1, 1])),
      box('Exif', Buffer.alloc(4), block),
    ),
    'JPEG 2000': jp2(jp2Exif(block)),
    codestream: j2c(),
  }
}
