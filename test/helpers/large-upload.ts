import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type IncomingMessage, request } from 'node:http'
import type { Test } from 'tap'
import { newFolder } from './folder.ts'
import { makeImage } from './images.ts'
import { startS3 } from './s3.ts'
import { post, startServer } from './server.ts'

export const MiB = 2 ** 20
/** A file that begins like an image and has any size. */
export const JPEG_HEAD = Buffer.from('ffd8ffe000104a46494600010100000100010000', 'hex')

/** Uploads an image's head and then `mebibytes` of zeros, as fast as possible. Resolves with the response. */
export async function uploadZeros(link: string, mebibytes: number) {
  const upload = request(link, {
    method: 'POST',
    headers: { 'content-type': 'multipart/form-data; boundary=b' },
  })
  const answering = once(upload, 'response') as Promise<[IncomingMessage]>
  upload.write('--b\r\nContent-Disposition: form-data; name="i"; filename="i.jpg"\r\n\r\n')
  upload.write(JPEG_HEAD)
  const chunk = Buffer.alloc(MiB)
  for (let sent = 0; sent < mebibytes; sent++) if (!upload.write(chunk)) await once(upload, 'drain')
  upload.end('\r\n--b--\r\n')
  const [answer] = await answering
  const body = (await answer.toArray()).join('')
  return { status: answer.statusCode, body: JSON.parse(body), size: JPEG_HEAD.length + mebibytes * MiB }
}

/** The resident memory of a process, in MiB. */
export function residentMiB(pid: number) {
  const [, kB] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kB) / 1024
}

/** The resident memory of a process while `work` goes on: before it, and at most, in MiB. */
export async function memoryDuring(pid: number, work: () => Promise<void>) {
  const idle = residentMiB(pid)
  let peak = idle
  const watching = setInterval(() => {
    peak = Math.max(peak, residentMiB(pid))
  }, 20)
  await work().finally(() => clearInterval(watching))
  return { idle, peak }
}

interface Sent {
  /** The body of the response. */
  body: { processed: { id: string; size: number }[] }
  size: number
}

/** Asserts that an upload to S3 keeps the process within 150 MiB of its idle memory, and that the image is complete. */
export async function checkMemoryOfUpload(t: Test, send: (link: string) => Promise<Sent>) {
  const s3 = await startS3(t)
  const server = await startServer(t, {
    DATA_DIR: newFolder(t),
    OBJECT_STORE_URL: s3.url(await s3.createBucket('large')).href,
    MAX_FILE_SIZE: '6GiB',
    WORKER_PROCESSES: '0',
  })
  const link = await server.makeLink()
  await post(link, await makeImage('png'))

  const start = performance.now()
  const { idle, peak } = await memoryDuring(server.process.pid!, async () => {
    const { body, size } = await send(link)
    t.equal(body.processed[0]!.size, size)
    const head = await fetch(`${server.url}/images/${body.processed[0]!.id}`, { method: 'HEAD' })
    t.equal(head.headers.get('content-length'), `${size}`)
  })
  const seconds = (performance.now() - start) / 1000
  t.comment(`idle ${idle.toFixed(0)} MiB, peak ${peak.toFixed(0)} MiB, ${seconds.toFixed(0)} s`)
  t.ok(peak - idle < 150, `${(peak - idle).toFixed(0)} MiB more than idle`)
}
