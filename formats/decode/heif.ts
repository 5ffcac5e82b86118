import libheif from 'libheif-js/wasm-bundle.js'
import sharp from 'sharp'
import type { Mode } from './libvips.ts'
import { type Pixels, shrink } from './thumbnail.ts'
import { damage, decoderLimit, excess, unsupported } from './undecodable.ts'

// libheif's JavaScript interface has no option to decode strictly, and takes a HEIC that is cut in half for complete. So
// its C interface is used, and one byte of a C struct is written. This was checked for the version below only:
// package.json has exactly this version of libheif-js.
const VERSION = '1.23.2'

/** Where `strict_decoding` is in struct heif_decoding_options (libheif/api/libheif/heif_decoding.h). */
const STRICT = 21

// Numbers of libheif's C interface.
const RGB = 1
const INTERLEAVED_RGB = 10
const INTERLEAVED_RGBA = 11
const INTERLEAVED = 10
const ERROR_BYTES = 12
const POINTER_BYTES = 4
const UNSUPPORTED_FILETYPE = 3
const UNSUPPORTED_FEATURE = 4
const MEMORY_ALLOCATION = 6
const PLUGIN_LOADING = 11
const SECURITY_LIMIT = 1000

/**
 * Checks the version of the installed libheif, because a private struct of it is used here.
 *
 * @throws {Error} it is another version
 */
export function checkVersion(installed = stringAt(libheif._heif_get_version())): void {
  if (installed !== VERSION)
    throw new Error(
      `libheif-js contains libheif ${installed}, but formats/decode/heif.ts was written for ${VERSION}. Check the position of ` +
        'strict_decoding in struct heif_decoding_options, then change VERSION and package.json.',
    )
}

/**
 * Decodes the primary picture of a HEIF file with HEVC, by libheif in WebAssembly, and makes it small. libheif turns it
 * by its boxes.
 *
 * @throws {Undecodable}
 */
export async function decodeHeif(file: Buffer, mode: Mode): Promise<Pixels> {
  const { release, data, width, height, channels } = decodeHeifPixels(file, mode)
  try {
    const picture = sharp(data, { raw: { width, height, channels }, limitInputPixels: false })
    return await shrink(picture)
  } finally {
    release()
  }
}

/**
 * Decodes the primary picture to RGB or RGBA, with its colour profile. libheif turns it by its boxes.
 *
 * @returns `data` is in the memory of libheif, until `release` is called
 * @throws {Undecodable}
 */
export function decodeHeifPixels(file: Buffer, mode: Mode) {
  const releases: (() => void)[] = []
  const own: Own = (thing, release) => {
    releases.push(() => release(thing))
    return thing
  }
  const release = () => {
    for (const each of releases.splice(0).reverse()) each()
  }
  try {
    const { image, channels, icc } = decodePrimary(file, mode, own)
    return { ...toPixels(image, channels, own), icc, release }
  } catch (error) {
    release()
    throw error
  }
}

/** Remembers how to release a thing of libheif. */
type Own = <T>(thing: T, release: (thing: T) => void) => T

/** Decodes the primary picture, and returns its address and its profile. */
function decodePrimary(file: Buffer, mode: Mode, own: Own) {
  checkVersion()
  const allocate = (bytes: number) => own(libheif._malloc(bytes), libheif._free)
  const error = allocate(ERROR_BYTES)
  const out = allocate(POINTER_BYTES)
  const memory = allocate(file.length)
  if (memory === 0) throw excess('the image needs more memory than a decoder has')
  libheif.HEAPU8.set(file, memory)
  const context = own(libheif._heif_context_alloc(), libheif._heif_context_free)
  const options = own(libheif._heif_decoding_options_alloc(), libheif._heif_decoding_options_free)
  libheif.HEAPU8[options + STRICT] = mode === 'lenient' ? 0 : 1
  // Files with more than 256 items are usual: each tile of a large picture is one. Our own limits remain.
  if (mode !== 'strict')
    libheif._heif_context_set_security_limits(error, context, libheif._heif_get_disabled_security_limits())

  libheif._heif_context_read_from_memory_without_copy(error, context, memory, file.length, 0)
  check(error)
  libheif._heif_context_get_primary_image_handle(error, context, out)
  check(error)
  const handle = own(numberAt(out), libheif._heif_image_handle_release)
  const channels = libheif._heif_image_handle_has_alpha_channel(handle) ? 4 : 3
  const order = channels === 4 ? INTERLEAVED_RGBA : INTERLEAVED_RGB
  libheif._heif_decode_image(error, handle, out, RGB, order, options)
  check(error)
  const image = own(numberAt(out), libheif._heif_image_release)
  return { image, channels, icc: readProfile(handle, error, own) } as const
}

/** The colour profile of a picture; undefined if it has none, or only numbers that stand for one. */
function readProfile(handle: number, error: number, own: Own): Buffer | undefined {
  const size = libheif._heif_image_handle_get_raw_color_profile_size(handle)
  if (size === 0) return undefined
  const profile = own(libheif._malloc(size), libheif._free)
  libheif._heif_image_handle_get_raw_color_profile(error, handle, profile)
  return numberAt(error) === 0 ? Buffer.from(libheif.HEAPU8.slice(profile, profile + size)) : undefined
}

function toPixels(image: number, channels: 3 | 4, own: Own) {
  const width = libheif._heif_image_get_width(image, INTERLEAVED)
  const height = libheif._heif_image_get_height(image, INTERLEAVED)
  const stride = own(libheif._malloc(POINTER_BYTES), libheif._free)
  const plane = libheif._heif_image_get_plane_readonly(image, INTERLEAVED, stride)
  const rowBytes = numberAt(stride)
  // Rows may be longer than the picture. They are moved together, in place.
  const rows = libheif.HEAPU8.subarray(plane, plane + rowBytes * height)
  const usedBytes = width * channels
  if (rowBytes !== usedBytes)
    for (let row = 1; row < height; row++)
      rows.copyWithin(row * usedBytes, row * rowBytes, row * rowBytes + usedBytes)
  return { data: rows.subarray(0, usedBytes * height), width, height, channels }
}

const numberAt = (address: number) => libheif.HEAPU32[address / POINTER_BYTES]!

/** A text that ends with a NUL. */
function stringAt(address: number) {
  return Buffer.from(libheif.HEAPU8.slice(address, libheif.HEAPU8.indexOf(0, address))).toString()
}

/** Reads struct heif_error: a code, a subcode and a text. */
function check(error: number) {
  const code = numberAt(error)
  if (code === 0) return
  const subcode = numberAt(error + POINTER_BYTES)
  const message = stringAt(numberAt(error + 2 * POINTER_BYTES))
  if (code === MEMORY_ALLOCATION || subcode === SECURITY_LIMIT) throw decoderLimit(message)
  throw [UNSUPPORTED_FILETYPE, UNSUPPORTED_FEATURE, PLUGIN_LOADING].includes(code)
    ? unsupported(message)
    : damage(message)
}
