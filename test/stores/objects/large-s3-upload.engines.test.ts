import t from 'tap'
import { checkMemoryOfUpload, uploadZeros } from '../../helpers/large-upload.ts'
import { withoutS3 } from '../../helpers/s3.ts'

t.test(
  'an upload of 5 GB to S3 keeps the process within 150 MB of its idle memory',
  { skip: withoutS3(), timeout: 300_000 },
  (t) => checkMemoryOfUpload(t, (link) => uploadZeros(link, 5 * 1024)),
)
