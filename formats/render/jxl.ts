import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { damage, decoderLimit } from '../decode/undecodable.ts'
import type { RawPixels } from './tiff-writer.ts'

const WASM = createRequire(import.meta.url).resolve('@jsquash/jxl/codec/dec/jxl_dec.wasm')

/** Decodes a JPEG XL by libjxl in WebAssembly, to sRGB. libjxl turns the picture. @throws {Undecodable} */
export async function decodeJxl(file: Buffer): Promise<RawPixels> {
  const { default: load } = await import('@jsquash/jxl/codec/dec/jxl_dec.js')
  const wasm = await readFile(WASM)
  const codec = await load({
    instantiateWasm(imports, receive) {
      WebAssembly.instantiate(wasm, imports).then(({ instance }) => receive(instance))
      return {}
    },
    print() {},
    printErr() {},
  })
  let picture: ReturnType<typeof codec.decode>
  try {
    picture = codec.decode(file)
  } catch (error) {
    // libjxl reports damage by an empty result. This is a lack of memory.
    throw decoderLimit(String((error as Error).message ?? error).slice(0, 200))
  }
  if (!picture) throw damage('libjxl')
  const { data, width, height } = picture
  return { data: new Uint8Array(data.buffer, data.byteOffset, data.length), width, height, channels: 4 }
}
