import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A TCP proxy on a free port before a database or a server, whose connections can be lost. It ends with the test. */
export async function startLossyProxy(t: Test, targetUrl: string) {
  const url = new URL(targetUrl)
  const target = { host: url.hostname, port: Number(url.port) }
  const clients = new Set<Socket>()
  let refusing = false
  let unwanted: string | undefined
  let limit = Number.POSITIVE_INFINITY

  const proxy = createServer((client) => {
    client.on('error', () => {})
    if (refusing) {
      client.end()
      return
    }
    const server = connect(target)
    server.on('error', () => {})
    clients.add(client)
    client.on('close', () => {
      clients.delete(client)
      server.destroy()
    })
    server.on('close', () => client.destroy())
    client.pipe(server)
    client.on('data', ({ length }) => {
      if (limit === Number.POSITIVE_INFINITY) return
      client.pause()
      setTimeout(() => client.resume(), (length / limit) * 1_000)
    })
    server.on('data', (answer) => {
      if (unwanted === undefined || !answer.includes(unwanted)) client.write(answer)
      else {
        unwanted = undefined
        client.resetAndDestroy()
      }
    })
  })
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.teardown(() => {
    proxy.close()
    for (const client of clients) client.destroy()
  })
  url.port = `${(proxy.address() as AddressInfo).port}`

  return {
    url: url.href,
    /** Ends all connections, in order (FIN) or not (RST). */
    lose(how: 'FIN' | 'RST') {
      for (const client of clients) how === 'FIN' ? client.end() : client.resetAndDestroy()
    },
    /** Resets the connection instead of the next response that contains `text`. */
    loseAnswer(text: string) {
      unwanted = text
    },
    /** Whether it ends a new connection at once, like a load balancer without a backend. */
    refuse(whether: boolean) {
      refusing = whether
    },
    /** How many bytes each client can send in a second. */
    limit(bytesPerSecond: number) {
      limit = bytesPerSecond
    },
  }
}
