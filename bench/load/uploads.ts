// A process that uploads over plain sockets, so that it needs little CPU.
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** The argument of this script, as JSON. */
export interface UploadLoad {
  url: string
  /** Each upload starts with the bytes of this file. */
  file: string
  /** Bytes of an upload. If the file is smaller, its last MiB is repeated. */
  size: number
  /** The number of concurrent connections. */
  clients: number
  /** multipart/form-data, or a raw body. */
  multipart: boolean
  /** Whether the bytes of each upload differ. */
  distinct: boolean
  /** Starts no upload after this time. Without it, each client uploads once. */
  seconds?: number
  /** For each client. */
  bytesPerSecond?: number
  /** Stops all uploads after this time, and writes only the number of sent bytes. */
  untilSeconds?: number
}

/** The result, written as JSON. */
export interface UploadReport {
  uploads: number
  bytes: number
  seconds: number
}

const MiB = 2 ** 20
const BOUNDARY = '----WebKitFormBoundary7MA4YWxkTrZu0gW'
const HEAD = Buffer.from(
  `--${BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="image.jpg"\r\nContent-Type: image/jpeg\r\n\r\n`,
)
const TAIL = Buffer.from(`\r\n--${BOUNDARY}--\r\n`)

const load: UploadLoad = JSON.parse(process.argv[2]!)
const file = readFileSync(load.file)
const sockets: Socket[] = []
if (load.untilSeconds !== undefined) {
  setTimeout(() => {
    // Bytes that wait in this process were not sent.
    const sent = sockets.reduce(
      (sum, { bytesWritten, writableLength }) => sum + bytesWritten - writableLength,
      0,
    )
    process.stdout.write(String(sent), () => process.exit())
  }, load.untilSeconds * 1000)
}
const startedAt = performance.now()
const passed = () => (performance.now() - startedAt) / 1000
const counts = await Promise.all(Array.from({ length: load.clients }, client))
const uploads = counts.reduce((sum, count) => sum + count, 0)
const report: UploadReport = { uploads, bytes: uploads * load.size, seconds: passed() }
process.stdout.write(JSON.stringify(report))

async function client() {
  const { hostname, port, pathname } = new URL(load.url)
  const socket = connect(Number(port), hostname).setNoDelay()
  sockets.push(socket)
  await once(socket, 'connect')
  const answered = answers(socket)
  const framing = load.multipart ? HEAD.length + TAIL.length : 0
  const type = load.multipart ? `multipart/form-data; boundary=${BOUNDARY}` : 'image/jpeg'
  const request =
    `POST ${pathname} HTTP/1.1\r\nHost: bench\r\nContent-Type: ${type}\r\n` +
    `Content-Length: ${load.size + framing}\r\n\r\n`
  const first = Buffer.from(file.subarray(0, Math.min(load.size, MiB)))
  const more = file.subarray(-MiB)

  let uploads = 0
  do {
    // After the JPEG's header, so that only the hash differs.
    if (load.distinct) randomFillSync(first, first.length - 16)
    const answer = answered()
    socket.cork()
    socket.write(request)
    if (load.multipart) socket.write(HEAD)
    await send(socket, first)
    socket.uncork()
    for (let left = load.size - first.length; left > 0; left -= more.length)
      await send(socket, more.subarray(0, left))
    if (load.multipart) socket.write(TAIL)
    const status = await answer
    if (status !== 200) throw new Error(`the response was ${status}`)
    uploads++
  } while (load.seconds !== undefined && passed() < load.seconds)
  socket.destroy()
  return uploads
}

async function send(socket: Socket, bytes: Buffer) {
  if (load.bytesPerSecond === undefined) {
    const goesOn = socket.write(bytes)
    if (!goesOn && socket.writableCorked === 0) await once(socket, 'drain')
    return
  }
  socket.uncork()
  const step = Math.ceil(load.bytesPerSecond / 20)
  for (let start = 0; start < bytes.length; start += step) {
    socket.write(bytes.subarray(start, start + step))
    await sleep(50)
  }
}

/** Reads the responses, which have a Content-Length. Each call returns the status of the next one. */
function answers(socket: Socket) {
  let received = Buffer.alloc(0)
  let pending: { resolve(status: number): void; reject(error: Error): void } | undefined
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk])
    const end = received.indexOf('\r\n\r\n')
    if (end < 0) return
    const head = received.toString('latin1', 0, end)
    const length = Number(/content-length: (\d+)/i.exec(head)?.[1])
    if (received.length < end + 4 + length) return
    received = received.subarray(end + 4 + length)
    pending?.resolve(Number(head.slice(9, 12)))
  })
  const fail = () => pending?.reject(new Error('the connection ended'))
  socket.on('close', fail).on('error', fail)
  return () => new Promise<number>((resolve, reject) => (pending = { resolve, reject }))
}
