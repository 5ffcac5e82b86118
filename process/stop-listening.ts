import cluster from 'node:cluster'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'

// A connection that the kernel has accepted, but the process has not, is reset when the process stops to listen. Its
// client has often sent a request already, which a proxy may not repeat. Therefore the process stops to listen at a
// moment at which the kernel has no such connection and can get none: the queue has one connection, which this process
// has opened itself, and no room for a second one. Meanwhile the kernel ignores other clients. They try again after a
// second and are refused, so that a proxy selects another server.

const LONGEST_MS = 3_000
const KEEP_OUT_AFTER_MS = 500
/**
 * Connections that wait to be accepted. The kernel ignores clients above it, and above its own limit (`net.core.somaxconn`,
 * 4096 on Linux); they try again after 1, 3 and 7 s. Node's default of 511 is full after half a second of an overload.
 */
export const QUEUE_LENGTH = 4096
const IDLE_CHECK_MS = 250
/** Connections that a process can accept, now or soon: ESTABLISHED, SYN_RECV, CLOSE_WAIT (Linux, `tcp_states.h`). */
const ACCEPTABLE = new Set(['01', '03', '08'])

/**
 * Stops to listen without resetting a connection. Resolves when all requests in progress are finished. If connections
 * wait to be accepted for 3 s without a pause, they are reset. They are always reset if the system is not Linux, or if
 * the primary process of a cluster listens.
 */
export async function stopListening(server: Server): Promise<void> {
  const closed = once(server, 'close')
  if (process.platform === 'linux' && !cluster.isWorker) await closeWhenQueueIsEmpty(server)
  else server.close()
  // `close` closes idle connections. A connection that becomes idle later would delay the end.
  const closing = setInterval(() => server.closeIdleConnections(), IDLE_CHECK_MS)
  await closed.finally(() => clearInterval(closing))
}

async function closeWhenQueueIsEmpty(server: Server) {
  const start = performance.now()
  for (let elapsed = 0; elapsed < LONGEST_MS; elapsed = performance.now() - start) {
    if (await tryToClose(server)) return
    // With very many clients, the queue is hardly ever empty. Then they are kept out meanwhile.
    if (elapsed < KEEP_OUT_AFTER_MS) setQueueLength(server, QUEUE_LENGTH)
    // The waiting connections are accepted.
    await nextTurn()
  }
  server.close()
}

/** Closes the server if no connection waits. Nothing is accepted meanwhile, because all of it runs in one turn. */
async function tryToClose(server: Server): Promise<boolean> {
  const { address, port } = server.address() as AddressInfo
  setQueueLength(server, 0) // this is room for one connection
  // An address such as 0.0.0.0 is this machine, too.
  const own = connect(port, address).on('error', () => {})
  // `connect` calls the kernel in the next tick.
  await new Promise<void>((resolve) => process.nextTick(resolve))
  const waiting = waitingPorts(port)
  const isOnlyOwn = waiting.length === 1 && waiting[0] === own.localPort
  if (isOnlyOwn) server.close()
  own.destroy()
  return isOnlyOwn
}

function setQueueLength(server: Server, length: number) {
  // Node has no documented way to change it while a server listens.
  const { _handle } = server as unknown as { _handle: { listen(backlog: number): number } }
  _handle.listen(length)
}

/** The clients' ports of the connections that wait to be accepted: they have no inode yet (Linux, proc_net_tcp). */
function waitingPorts(port: number): number[] {
  return ['/proc/net/tcp', '/proc/net/tcp6'].flatMap((path) =>
    readTable(path)
      .map((line) => line.trim().split(/\s+/))
      .filter(
        ([, local, , state, , , , , , inode]) =>
          portOf(local) === port && inode === '0' && ACCEPTABLE.has(state ?? ''),
      )
      .map(([, , remote]) => portOf(remote)),
  )
}

/** Without a table, as on a system without IPv6, nothing is known about its connections. */
function readTable(path: string) {
  try {
    return readFileSync(path, 'utf8').split('\n').slice(1)
  } catch {
    return []
  }
}

const portOf = (address = '') => Number.parseInt(address.slice(address.lastIndexOf(':') + 1), 16)
