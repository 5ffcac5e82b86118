import type { SharpOptions } from 'sharp'
import type { Metadata } from '../../schemas/images.ts'
import { decodeHeifPixels } from '../decode/heif.ts'
import { open, readWhole, type WholeFile } from '../decode/libvips.ts'
import { normalizeSvg } from '../decode/svg.ts'
import { excess, Undecodable } from '../decode/undecodable.ts'
import { decodeBmp, decodeIco } from './bitmap.ts'
import { firstFrame } from './first-frame.ts'
import { decodeJpeg2000 } from './jpeg2000.ts'
import { decodeJxl } from './jxl.ts'
import { decodePsd } from './psd.ts'
import { findPreview } from './raw-preview.ts'
import type { RawPixels } from './tiff-writer.ts'
import { Unrenderable } from './unrenderable.ts'

/** A picture that can be rendered: a file that libvips decodes, or decoded pixels. */
export type Picture = (
  | { file: WholeFile; options?: SharpOptions; frames?: number | undefined }
  | { pixels: RawPixels }
) & {
  /** How it must be turned: a value of the Exif tag. */
  orientation?: number | undefined
  /** Frees the pixels. */
  release?(): void
}

type Open = (file: WholeFile, metadata: Metadata) => Promise<Picture>

const openers: Record<string, Open> = {
  JPEG: openFile,
  PNG: openFile,
  APNG: openFile,
  GIF: openFile,
  WebP: openFile,
  TIFF: openFile,
  AVIF: openAvif,
  HEIC: openHeif,
  HEIF: openHeif,
  SVG: openSvg,
  BMP: async (file) => ({ pixels: decodeBmp(await readWhole(file)) }),
  ICO: openIco,
  PSD: async (file, { mediaType }) => ({ pixels: await decodePsd(await readWhole(file), mediaType) }),
  'JPEG XL': async (file) => ({ pixels: await decodeJxl(await readWhole(file)) }),
  'JPEG 2000': async (file, { mediaType }) => ({
    pixels: await decodeJpeg2000(await readWhole(file), mediaType),
  }),
  DNG: openRaw,
  CR2: openRaw,
  CR3: openRaw,
  NEF: openRaw,
  ARW: openRaw,
  ORF: openRaw,
  RW2: openRaw,
  RAF: openRaw,
}

/** Opens a picture for rendering. @throws {Unrenderable | Undecodable} */
export async function openPicture(file: WholeFile, metadata: Metadata): Promise<Picture> {
  const opener = openers[metadata.format]
  if (!opener) throw new Unrenderable(`There is no decoder for ${metadata.format}.`)
  return opener(file, metadata)
}

async function openFile(file: WholeFile, { orientation, frames, format }: Metadata): Promise<Picture> {
  // The further pages of a TIFF are no animation.
  return { file, orientation, frames: format === 'GIF' || format === 'WebP' ? frames : undefined }
}

/** libheif turns the picture. Of a sequence, its still picture is shown, or else its first frame. */
async function openAvif(file: WholeFile, { duration }: Metadata): Promise<Picture> {
  const hasStill =
    duration === undefined ||
    (await open(file, 'lenient')
      .metadata()
      .then(Boolean, () => false))
  return { file: hasStill ? file : await firstFrame(await readWhole(file)) }
}

async function openHeif(file: WholeFile, { mediaType }: Metadata): Promise<Picture> {
  const bytes = await readWhole(file)
  const { release, ...pixels } = mediaType.endsWith('-sequence')
    ? await openSequence(bytes)
    : decodeHeifPixels(bytes, 'lenient')
  return { pixels, release }
}

async function openSequence(file: Buffer) {
  try {
    return decodeHeifPixels(file, 'lenient')
  } catch (error) {
    if (!(error instanceof Undecodable)) throw error
    return decodeHeifPixels(await firstFrame(file), 'lenient')
  }
}

async function openIco(file: WholeFile): Promise<Picture> {
  const found = decodeIco(await readWhole(file))
  return 'png' in found ? { file: found.png } : found
}

/** The camera's preview. It is stored like the raw picture, so it is turned like it. */
async function openRaw(file: WholeFile, { orientation }: Metadata): Promise<Picture> {
  return { file: findPreview(await readWhole(file)), orientation }
}

const MAX_SVG_BYTES = 2 ** 24

async function openSvg(file: WholeFile): Promise<Picture> {
  // librsvg gets the bytes and not the path, so that it cannot draw other files.
  const svg = await readWhole(file)
  if (svg.length > MAX_SVG_BYTES) throw excess(`the SVG has more than ${MAX_SVG_BYTES / 2 ** 20} MiB`)
  return { file: normalizeSvg(svg) }
}
