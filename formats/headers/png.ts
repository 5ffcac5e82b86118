import { inflateSync } from 'node:zlib'
import { type Bytes, bytesOf } from './bytes.ts'
import { type Header, type HeaderReader, MOST_BLOCK_BYTES } from './header.ts'
import { readBySharp } from './sharp.ts'
import { exifDirectories } from './tags.ts'
import { openExif } from './tiff.ts'

/**
 * PNG and APNG (PNG 3rd edition). libvips reads up to the pixels: their animation, and tags that stand after the pixels
 * or are packed into text, are read here.
 */
export const readPng: HeaderReader = async ({ bytes, source }) => {
  const { animated, ...own } = await readChunks(bytes)
  const decoded = await readBySharp(source)
  if (!decoded && !own.width) return undefined
  return {
    ...decoded,
    ...own,
    mediaType: animated ? 'image/apng' : 'image/png',
    exif: own.exif ?? decoded?.exif,
    xmp: own.xmp ?? decoded?.xmp,
  }
}

// A file with more chunks is told by those.
const MOST_CHUNKS = 100_000

async function readChunks(bytes: Bytes) {
  const found: Header & { animated: boolean } = { animated: false }
  const keywords = new Set<string>()
  let pixels = false
  let at = 8
  for (let count = 0; count < MOST_CHUNKS; count++) {
    const head = await bytes.read(at, 8)
    if (head.length < 8) break
    const length = head.readUInt32BE(0)
    const type = head.toString('latin1', 4)
    const data = (most = MOST_BLOCK_BYTES) => bytes.read(at + 8, Math.min(length, most))
    if (type === 'IHDR' && length === 13) {
      const header = await data()
      if (header.length === 13) {
        found.width = header.readUInt32BE(0)
        found.height = header.readUInt32BE(4)
        found.bitDepth = header[8]
      }
    } else if (type === 'IDAT') pixels = true
    else if (type === 'acTL' && !pixels) {
      const control = await data()
      found.animated = true
      if (control.length >= 8) found.frames = control.readUInt32BE(0)
    } else if (type === 'fcTL') {
      const control = await data(26)
      if (control.length === 26) found.duration = (found.duration ?? 0) + delay(control)
    } else if (type === 'eXIf') found.exif ??= await exifDirectories(await openExif(bytesOf(await data())))
    else if (/^(tEXt|zTXt|iTXt)$/.test(type)) await readText(type, await data(), found, keywords)
    else if (type === 'IEND') break
    at += 12 + length
  }
  return found
}

/** Milliseconds; a denominator of 0 stands for 100 (§11.3.6.2). */
const delay = (control: Buffer) => (control.readUInt16BE(20) * 1000) / (control.readUInt16BE(22) || 100)

/** Text chunks (§11.3.3) that hold a block of tags: XMP under its keyword, and what ImageMagick writes as hexadecimal. */
async function readText(type: string, data: Buffer, found: Header, keywords: Set<string>) {
  const end = data.indexOf(0)
  const keyword = data.toString('latin1', 0, end)
  // Each once, so that a file full of them takes no time to unpack.
  if (
    end < 0 ||
    keywords.has(keyword) ||
    !/^(XML:com\.adobe\.xmp|Raw profile type (exif|APP1|xmp))$/.test(keyword)
  )
    return
  keywords.add(keyword)
  const text = textOf(type, data.subarray(end + 1))
  if (!keyword.startsWith('Raw')) found.xmp ??= text
  else {
    // A line break, a name, the length, and lines of hexadecimal.
    const block = Buffer.from(
      text
        .toString('latin1')
        .replace(/^\s*\S+\s+\d+\s+/, '')
        .replace(/\s+/g, ''),
      'hex',
    )
    if (keyword.endsWith('xmp')) found.xmp ??= block
    else found.exif ??= await exifDirectories(await openExif(bytesOf(block)))
  }
}

function textOf(type: string, data: Buffer) {
  if (type === 'tEXt') return data
  if (type === 'zTXt') return inflate(data.subarray(1))
  // iTXt: whether it is compressed and how, a language, the keyword once more in it, and the text.
  const [compressed] = data
  const language = data.indexOf(0, 2)
  const translated = data.indexOf(0, language + 1)
  const text = data.subarray(translated + 1)
  return compressed === 1 ? inflate(text) : text
}

function inflate(data: Buffer) {
  try {
    return inflateSync(data, { maxOutputLength: MOST_BLOCK_BYTES })
  } catch {
    return Buffer.alloc(0)
  }
}
