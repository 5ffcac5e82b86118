/** Keeps what is written to a stream, instead of printing it. The stream is no terminal meanwhile. */
export function captureOutput(stream: NodeJS.WriteStream) {
  const { write, isTTY } = stream
  let text = ''
  stream.write = (chunk: string | Uint8Array) => {
    text += Buffer.from(chunk as Uint8Array).toString()
    return true
  }
  stream.isTTY = false
  return { text: () => text, restore: () => Object.assign(stream, { write, isTTY }) }
}
