import t from 'tap'
import { createS3Store } from '../../../stores/objects/s3/index.ts'

t.test('a URL that can be used needs no server yet', async () => {
  await createS3Store(
    new URL(
      's3://bucket/a/b?endpoint=http://127.0.0.1:9000&region=eu&forcePathStyle=true&storageClass=STANDARD',
    ),
  )
  await createS3Store(new URL('s3://bucket?region=eu-central-1'))
})

t.test('a wrong URL is refused, with what is wrong', async (t) => {
  for (const [url, message] of Object.entries({
    's3:///prefix': /names no bucket/,
    's3://bucket?regoin=eu': /unknown parameter "regoin"; the known ones are endpoint, region, /,
    's3://bucket?region=': /no value for region/,
    's3://bucket?region=a&region=b': /region more than once/,
    's3://bucket?region=eu&endpoint=localhost:9000': /endpoint that is no http or https URL/,
    's3://bucket?region=eu&endpoint=nonsense': /endpoint that is no http or https URL/,
    's3://bucket?region=eu&forcePathStyle=yes': /neither true nor false/,
    's3://bucket:9000?region=eu': /port/,
    's3://bucket/%zz?region=eu': /% that is no escape/,
    's3://key:hunter2@bucket?region=eu': /credentials in it/,
    's3://bucket?region=eu&endpoint=http://key:hunter2@127.0.0.1': /credentials in its endpoint/,
  })) {
    await t.rejects(createS3Store(new URL(url)), { message }, url)
    await t.rejects(createS3Store(new URL(url)), { message: /^(?!.*hunter2)/ }, 'and no secret is shown')
  }
})
