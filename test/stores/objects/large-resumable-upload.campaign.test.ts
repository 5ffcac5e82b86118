import t from 'tap'
import { newFolder } from '../../helpers/folder.ts'
import { makeImage } from '../../helpers/images.ts'
import { JPEG_HEAD, MiB, memoryDuring } from '../../helpers/large-upload.ts'
import { begin, patch } from '../../helpers/resumable-sockets.ts'
import { startS3, withoutS3 } from '../../helpers/s3.ts'
import { post, startServer } from '../../helpers/server.ts'

const PARTS = 100
const PART = 50 * MiB

t.test(
  'an upload of 5 GB to S3 in parts of 50 MB keeps the process within 150 MB of its idle memory',
  { skip: withoutS3(), timeout: 900_000 },
  async (t) => {
    const s3 = await startS3(t)
    const server = await startServer(t, {
      DATA_DIR: newFolder(t),
      OBJECT_STORE_URL: s3.url(await s3.createBucket('large')).href,
      MAX_FILE_SIZE: '6GiB',
      WORKER_PROCESSES: '0',
    })
    const link = await server.makeLink()
    await post(link, await makeImage('png'))

    const size = PARTS * PART
    const part = Buffer.alloc(PART)
    const start = performance.now()
    const { idle, peak } = await memoryDuring(server.process.pid!, async () => {
      const url = await begin(link, size)
      for (let n = 0; n < PARTS; n++) {
        JPEG_HEAD.copy(part)
        if (n > 0) part.fill(0, 0, JPEG_HEAD.length)
        const answer = await patch(url, n * PART, part)
        if (n < PARTS - 1) {
          if (answer?.status !== 204) throw new Error(`part ${n}: ${answer?.status} ${answer?.body}`)
          continue
        }
        const { processed } = JSON.parse(answer!.body)
        t.equal(processed[0].size, size)
        const head = await fetch(`${server.url}/images/${processed[0].id}`, { method: 'HEAD' })
        t.equal(head.headers.get('content-length'), `${size}`)
      }
    })
    const seconds = (performance.now() - start) / 1000
    t.comment(`idle ${idle.toFixed(0)} MiB, peak ${peak.toFixed(0)} MiB, ${seconds.toFixed(0)} s`)
    t.ok(peak - idle < 150, `${(peak - idle).toFixed(0)} MiB more than idle`)
  },
)
