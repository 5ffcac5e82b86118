import { part } from './bytes.ts'
import type { HeaderReader } from './header.ts'
import { MOST_BLOCK_BYTES } from './header.ts'
import { boxes, content, find } from './isobmff.ts'
import { exifDirectories } from './tags.ts'
import { openExif } from './tiff.ts'

const EXIF = 'uuid:4a706754696666457869662d3e4a5032' // JpgTiffExif->JP2
const XMP = 'uuid:be7acfcb97a942e89c71999491e3afac' // XMP Specification, part 3

// EnumCS of a colour specification box.
const SPACES: Record<number, string> = { 12: 'CMYK', 14: 'Lab', 16: 'sRGB', 17: 'grey', 18: 'sRGB' }

/** JPEG 2000 (ISO/IEC 15444-1): a bare codestream (annex A), or one in boxes (annex I). */
export const readJpeg2000: HeaderReader = async ({ bytes }) => {
  const siz = await bytes.read(0, 43)
  if (siz[0] === 0xff)
    return siz.length < 43
      ? undefined
      : {
          width: siz.readUInt32BE(8) - siz.readUInt32BE(16),
          height: siz.readUInt32BE(12) - siz.readUInt32BE(20),
          bitDepth: (siz[42]! & 0x7f) + 1,
        }

  const header = await find(bytes, undefined, 'jp2h')
  const size = header && (await find(bytes, header, 'ihdr'))
  const ihdr = size ? await content(bytes, size, 14) : Buffer.alloc(0)
  if (!header || ihdr.length < 14) return undefined
  const found: Awaited<ReturnType<HeaderReader>> = {
    height: ihdr.readUInt32BE(0),
    width: ihdr.readUInt32BE(4),
    // 255 stands for depths that differ between the components.
    bitDepth: ihdr[10] === 255 ? undefined : (ihdr[10]! & 0x7f) + 1,
    hasAlpha: false,
  }
  for await (const box of boxes(bytes, header.start, header.end)) {
    if (box.type === 'colr') {
      const colours = await content(bytes, box, MOST_BLOCK_BYTES)
      if (colours[0] === 1 && colours.length >= 7) found.colourSpace ??= SPACES[colours.readUInt32BE(3)]
      else found.icc ??= colours.subarray(3)
    }
    if (box.type === 'cdef') {
      const channels = await content(bytes, box, 1024)
      for (let at = 2; at + 6 <= channels.length; at += 6)
        found.hasAlpha ||= [1, 2].includes(channels.readUInt16BE(at + 2))
    }
  }
  for await (const box of boxes(bytes)) {
    if (box.type === EXIF)
      found.exif ??= await exifDirectories(await openExif(part(bytes, box.start, box.end)))
    if (box.type === XMP) found.xmp ??= await content(bytes, box, MOST_BLOCK_BYTES)
  }
  return found
}
