/** Cuts bytes into chunks, each with memory of its own as those from a network have. */
export function* chunksOf(bytes: Uint8Array, size: number) {
  for (let start = 0; start < bytes.length; start += size) yield Buffer.from(bytes.slice(start, start + size))
}
