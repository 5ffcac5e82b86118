import { fileTypeFromBuffer } from 'file-type'

/** What the first bytes of a file say that it is. */
export interface Format {
  /** The format's name, as statistics show it. */
  format: string
  mediaType: string
}

/** How many bytes from the front are needed to know a format: what file-type asks for. */
export const HEAD_BYTES = 4100

const names: Record<string, string> = {
  'image/jpeg': 'JPEG',
  'image/png': 'PNG',
  'image/apng': 'APNG',
  'image/gif': 'GIF',
  'image/webp': 'WebP',
  'image/avif': 'AVIF',
  'image/heic': 'HEIC',
  'image/heic-sequence': 'HEIC',
  'image/heif': 'HEIF',
  'image/heif-sequence': 'HEIF',
  'image/tiff': 'TIFF',
  'image/bmp': 'BMP',
  'image/x-icon': 'ICO',
  'image/svg+xml': 'SVG',
  'image/jxl': 'JPEG XL',
  'image/jp2': 'JPEG 2000',
  'image/jpx': 'JPEG 2000',
  'image/jpm': 'JPEG 2000',
  'image/vnd.adobe.photoshop': 'PSD',
  'image/x-adobe-dng': 'DNG',
  'image/x-canon-cr2': 'CR2',
  'image/x-canon-cr3': 'CR3',
  'image/x-nikon-nef': 'NEF',
  'image/x-sony-arw': 'ARW',
  'image/x-olympus-orf': 'ORF',
  'image/x-panasonic-rw2': 'RW2',
  'image/x-fujifilm-raf': 'RAF',
}

/**
 * Tells the format of a file by its first bytes, `HEAD_BYTES` of them or all that there are; undefined where they are
 * not those of an image. Whether the rest is an image too is for the analysis to find.
 */
export async function sniff(head: Uint8Array): Promise<Format | undefined> {
  const found = (await fileTypeFromBuffer(head))?.mime
  const mediaType =
    found && found !== 'application/xml'
      ? found
      : bySignature(Buffer.from(head.buffer, head.byteOffset, head.length))
  const format = mediaType && names[mediaType]
  return format ? { format, mediaType } : undefined
}

// What file-type can't tell: a TIFF whose directory lies beyond the head, a damaged PNG, and SVG, which is text.
function bySignature(head: Buffer) {
  if (/^(II[*+]\0|MM\0[*+])/.test(head.toString('latin1', 0, 4))) return 'image/tiff'
  if (head.subarray(0, 8).equals(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'))) return 'image/png'
  if (SVG_START.test(head.toString('utf8'))) return 'image/svg+xml'
  return undefined
}

// XML's prolog (declaration, comments, processing instructions, document type) and the root element.
const SVG_START =
  /^\uFEFF?\s*(<\?[^>]*\?>\s*|<!--(?:(?!-->)[\s\S])*-->\s*|<!DOCTYPE\s+svg[^>[]*(\[[^\]]*\])?\s*>\s*)*<(\w+:)?svg[\s>/]/
