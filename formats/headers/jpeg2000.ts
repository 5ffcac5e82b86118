import { part } from './bytes.ts'
import { openBlock } from './exif.ts'
import { type Header, type HeaderReader, MAX_BLOCK_BYTES } from './header.ts'
import { type BoxReader, type Range, readBoxes } from './isobmff.ts'

const EXIF = 'uuid:4a706754696666457869662d3e4a5032' // JpgTiffExif->JP2
const XMP = 'uuid:be7acfcb97a942e89c71999491e3afac' // XMP Specification, part 3

// EnumCS of a colour specification box.
const SPACES: Record<number, string> = { 12: 'CMYK', 14: 'Lab', 16: 'sRGB', 17: 'grey', 18: 'sRGB' }

/** JPEG 2000 (ISO/IEC 15444-1): a bare codestream (annex A), or one in boxes (annex I). */
export const readJpeg2000: HeaderReader = async ({ bytes }) => {
  const start = await bytes.read(0, 43)
  if (start[0] === 0xff) return readCodestream(start)
  const boxes = readBoxes(bytes)
  const header = await boxes.find(undefined, 'jp2h')
  const found = header && (await readJp2Header(boxes, header))
  if (!found) return undefined
  for await (const box of boxes.boxes()) {
    if (box.type === EXIF)
      found.exif ??= await openBlock(part(bytes, box.start, box.end), { container: 'other' })
    if (box.type === XMP) found.xmp ??= await boxes.content(box, MAX_BLOCK_BYTES)
  }
  return found
}

/** The SIZ segment: the area of the picture, less its offset. */
function readCodestream(siz: Buffer): Header | undefined {
  if (siz.length < 43) return undefined
  return {
    width: siz.readUInt32BE(8) - siz.readUInt32BE(16),
    height: siz.readUInt32BE(12) - siz.readUInt32BE(20),
    bitDepth: (siz[42]! & 0x7f) + 1,
  }
}

async function readJp2Header(boxes: BoxReader, header: Range): Promise<Header | undefined> {
  const size = await boxes.find(header, 'ihdr')
  const ihdr = size ? await boxes.content(size, 14) : Buffer.alloc(0)
  if (ihdr.length < 14) return undefined
  const found: Header = {
    height: ihdr.readUInt32BE(0),
    width: ihdr.readUInt32BE(4),
    // 255 means that the components have different depths.
    bitDepth: ihdr[10] === 255 ? undefined : (ihdr[10]! & 0x7f) + 1,
    hasAlpha: false,
  }
  for await (const box of boxes.boxes(header)) {
    if (box.type === 'colr') {
      const colours = await boxes.content(box, MAX_BLOCK_BYTES)
      if (colours[0] === 1 && colours.length >= 7) found.colourSpace ??= SPACES[colours.readUInt32BE(3)]
      else found.icc ??= colours.subarray(3)
    }
    if (box.type === 'cdef') {
      const channels = await boxes.content(box, 1024)
      for (let at = 2; at + 6 <= channels.length; at += 6)
        found.hasAlpha ||= [1, 2].includes(channels.readUInt16BE(at + 2))
    }
  }
  return found
}
