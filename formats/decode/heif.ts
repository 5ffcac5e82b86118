import libheif from 'libheif-js/wasm-bundle.js'
import sharp from 'sharp'
import { type Pixels, shrink } from './thumbnail.ts'
import { damage, excess, NotDecodable } from './undecodable.ts'

// Numbers of libheif's C interface. Its JavaScript one has no way to ask for strictness, without which a picture that
// is cut off counts as whole.
const RGB = 1
const INTERLEAVED_RGBA = 11
const INTERLEAVED = 10
/** Where `strict_decoding` is in struct heif_decoding_options, since its version 3; it only grows at its end. */
const STRICT = 21
const ERROR_BYTES = 12
const POINTER_BYTES = 4
const UNSUPPORTED_FILETYPE = 3
const UNSUPPORTED_FEATURE = 4
const MEMORY_ALLOCATION = 6
const PLUGIN_LOADING = 11
const SECURITY_LIMIT = 1000

/**
 * Decodes the primary picture of a HEIF file with HEVC in it, by libheif in WebAssembly, and makes it small. libheif
 * turns it as its boxes say.
 *
 * @throws {Undecodable | NotDecodable}
 */
export async function decodeHeif(file: Buffer): Promise<Pixels> {
  const taken: (() => void)[] = []
  const take = <T>(thing: T, release: (thing: T) => void) => {
    taken.push(() => release(thing))
    return thing
  }
  const allocate = (bytes: number) => take(libheif._malloc(bytes), libheif._free)
  try {
    const error = allocate(ERROR_BYTES)
    const out = allocate(POINTER_BYTES)
    const memory = allocate(file.length)
    if (memory === 0) throw excess('it takes more memory than there is')
    libheif.HEAPU8.set(file, memory)
    const context = take(libheif._heif_context_alloc(), libheif._heif_context_free)
    const options = take(libheif._heif_decoding_options_alloc(), libheif._heif_decoding_options_free)
    libheif.HEAPU8[options + STRICT] = 1

    libheif._heif_context_read_from_memory_without_copy(error, context, memory, file.length, 0)
    check(error)
    libheif._heif_context_get_primary_image_handle(error, context, out)
    check(error)
    const handle = take(pointerAt(out), libheif._heif_image_handle_release)
    libheif._heif_decode_image(error, handle, out, RGB, INTERLEAVED_RGBA, options)
    check(error)
    const image = take(pointerAt(out), libheif._heif_image_release)
    const width = libheif._heif_image_get_width(image, INTERLEAVED)
    const height = libheif._heif_image_get_height(image, INTERLEAVED)
    const plane = libheif._heif_image_get_plane_readonly(image, INTERLEAVED, out)
    const rowBytes = pointerAt(out)

    const picture = sharp(libheif.HEAPU8.subarray(plane, plane + rowBytes * height), {
      raw: { width: rowBytes / 4, height, channels: 4 },
      limitInputPixels: false,
    })
    return await shrink(picture.extract({ left: 0, top: 0, width, height }))
  } finally {
    for (const release of taken.reverse()) release()
  }
}

const pointerAt = (address: number) => libheif.HEAPU32[address / POINTER_BYTES]!

/** Reads struct heif_error: a code, a code below it, and a text that ends with a NUL. */
function check(error: number) {
  const code = pointerAt(error)
  if (code === 0) return
  const below = pointerAt(error + POINTER_BYTES)
  const start = pointerAt(error + 2 * POINTER_BYTES)
  const message = Buffer.from(libheif.HEAPU8.slice(start, libheif.HEAPU8.indexOf(0, start))).toString()
  if (code === MEMORY_ALLOCATION || below === SECURITY_LIMIT)
    throw excess(`it takes too much memory (${message})`)
  if ([UNSUPPORTED_FILETYPE, UNSUPPORTED_FEATURE, PLUGIN_LOADING].includes(code)) throw new NotDecodable()
  throw damage(message)
}
