// A process whose connections request a URL and read the response slowly.
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

/** The argument of this script, as JSON. */
export interface SlowReaders {
  url: string
  clients: number
  seconds: number
  /** For each client. */
  bytesPerSecond: number
}

const { url, clients, seconds, bytesPerSecond }: SlowReaders = JSON.parse(process.argv[2]!)
const { hostname, port, pathname } = new URL(url)
const end = performance.now() + seconds * 1000

const read = await Promise.all(
  Array.from({ length: clients }, async () => {
    const socket = connect(Number(port), hostname)
    socket.write(`GET ${pathname} HTTP/1.1\r\nHost: bench\r\n\r\n`)
    socket.pause()
    while (performance.now() < end) {
      for (let read = 0; read < bytesPerSecond / 10; read += 64 * 1024) socket.read()
      await sleep(100)
    }
    socket.destroy()
    return socket.bytesRead
  }),
)
process.stdout.write(String(read.reduce((sum, bytes) => sum + bytes, 0)))
