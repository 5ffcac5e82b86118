// A process that uploads by tus over one plain socket, so that it needs little CPU.
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect } from 'node:net'

/** The argument of this script, as JSON. */
export interface ResumableLoad {
  url: string
  /** The upload starts with the bytes of this file, whose last MiB is repeated. */
  file: string
  /** Bytes of the upload. */
  size: number
  /** Bytes of one PATCH. */
  part: number
}

const MiB = 2 ** 20
const load: ResumableLoad = JSON.parse(process.argv[2]!)
const { hostname, port, pathname } = new URL(load.url)
const file = readFileSync(load.file)
const first = Buffer.from(file.subarray(0, MiB))
const more = file.subarray(-MiB)
// After the JPEG's header, so that only the hash differs.
randomFillSync(first, first.length - 16)

const startedAt = performance.now()
const socket = connect(Number(port), hostname).setNoDelay()
await once(socket, 'connect')
let received = ''
socket.on('data', (chunk) => {
  received += chunk.toString('latin1')
})

/** Sends a request. Resolves with the header of the response. */
async function call(method: string, path: string, fields: string, from = 0, to = 0): Promise<string> {
  socket.write(
    `${method} ${path} HTTP/1.1\r\nHost: bench\r\nTus-Resumable: 1.0.0\r\n${fields}Content-Length: ${to - from}\r\n\r\n`,
  )
  for (let at = from; at < to; ) {
    const source = at < MiB ? first : more
    const piece = source.subarray(at % MiB, Math.min(MiB, (at % MiB) + to - at))
    if (!socket.write(piece)) await once(socket, 'drain')
    at += piece.length
  }
  while (!received.includes('\r\n\r\n')) await once(socket, 'data')
  const head = received.slice(0, received.indexOf('\r\n\r\n'))
  const status = Number(head.slice(9, 12))
  if (status >= 300) throw new Error(received)
  received = ''
  return head
}

const begun = await call('POST', `${pathname}/files`, `Upload-Length: ${load.size}\r\n`)
const upload = /location: (\S+)/i.exec(begun)![1]!
for (let offset = 0; offset < load.size; offset += load.part) {
  const fields = `Content-Type: application/offset+octet-stream\r\nUpload-Offset: ${offset}\r\n`
  await call('PATCH', upload, fields, offset, Math.min(offset + load.part, load.size))
}
socket.destroy()
process.stdout.write(String((performance.now() - startedAt) / 1000))
