// Node's types have no WebAssembly.
declare namespace WebAssembly {
  type Imports = object
  type Instance = object
  function instantiate(bytes: Uint8Array, imports: Imports): Promise<{ instance: Instance }>
}

declare module '@jsquash/jxl/codec/dec/jxl_dec.js' {
  /** Emscripten's module, as far as it is used. */
  interface Options {
    instantiateWasm(imports: WebAssembly.Imports, receive: (instance: WebAssembly.Instance) => void): object
    print(): void
    printErr(): void
  }
  interface Picture {
    data: Uint8ClampedArray
    width: number
    height: number
  }
  export default function load(options: Options): Promise<{ decode(file: Buffer): Picture | null }>
}
declare module '@cornerstonejs/codec-openjpeg/decodewasmjs' {
  interface Decoder {
    getEncodedBuffer(length: number): Uint8Array
    decode(): void
    getDecodedBuffer(): Uint8Array
    getFrameInfo(): {
      width: number
      height: number
      bitsPerSample: number
      componentCount: number
      isSigned: boolean
    }
    /** OPJ_COLOR_SPACE of OpenJPEG. */
    getColorSpace(): number
    delete(): void
  }
  interface Options {
    locateFile(name: string): string
    print(): void
    printErr(): void
  }
  const load: (options: Options) => Promise<{ J2KDecoder: new () => Decoder }>
  export default load
}
