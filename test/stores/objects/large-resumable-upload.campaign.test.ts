import t from 'tap'
import { checkMemoryOfUpload, JPEG_HEAD, MiB } from '../../helpers/large-upload.ts'
import { begin, patch } from '../../helpers/resumable-sockets.ts'
import { withoutS3 } from '../../helpers/s3.ts'

const MINUTE = 60_000
const PARTS = 100
const PART = 50 * MiB

t.setTimeout(10 * MINUTE)
t.test(
  'an upload of 5 GB to S3 in parts of 50 MB keeps the process within 150 MB of its idle memory',
  { skip: withoutS3(), timeout: 10 * MINUTE },
  (t) =>
    checkMemoryOfUpload(t, async (link) => {
      const size = PARTS * PART
      const url = await begin(link, size)
      const part = Buffer.alloc(PART)
      JPEG_HEAD.copy(part)
      for (let n = 0; n < PARTS - 1; n++) {
        const answer = await patch(url, n * PART, part)
        if (answer?.status !== 204) throw new Error(`part ${n}: ${answer?.status} ${answer?.body}`)
        part.fill(0, 0, JPEG_HEAD.length)
      }
      const answer = await patch(url, size - PART, part)
      return { body: JSON.parse(answer!.body), size }
    }),
)
