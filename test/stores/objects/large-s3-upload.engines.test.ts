import t from 'tap'
import { newFolder } from '../../helpers/folder.ts'
import { makeImage } from '../../helpers/images.ts'
import { memoryDuring, uploadZeros } from '../../helpers/large-upload.ts'
import { startS3, withoutS3 } from '../../helpers/s3.ts'
import { post, startServer } from '../../helpers/server.ts'

t.test(
  'an upload of 5 GB to S3 keeps the process within 150 MB of its idle memory',
  { skip: withoutS3(), timeout: 300_000 },
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

    const start = performance.now()
    const { idle, peak } = await memoryDuring(server.process.pid!, async () => {
      const { status, body, size } = await uploadZeros(link, 5 * 1024)
      t.equal(status, 200)
      t.equal(body.processed[0].size, size)
      const head = await fetch(`${server.url}/images/${body.processed[0].id}`, { method: 'HEAD' })
      t.equal(head.headers.get('content-length'), `${size}`)
    })
    const seconds = (performance.now() - start) / 1000
    t.comment(`idle ${idle.toFixed(0)} MiB, peak ${peak.toFixed(0)} MiB, ${seconds.toFixed(0)} s`)
    t.ok(peak - idle < 150, `${(peak - idle).toFixed(0)} MiB more than idle`)
  },
)
