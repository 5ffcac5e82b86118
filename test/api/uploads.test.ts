import { createHash } from 'node:crypto'
import { admin, build, makeLink } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex')
const keysOf = async (app: Awaited<ReturnType<typeof build>>) =>
  (await Array.fromAsync(app.stores.objects.list())).map(({ key }) => key).sort()

eachDatabase(async (t, env) => {
  const app = await build(t, env)

  await t.test('several images come in, in the order of the parts, and come out bit by bit', async (t) => {
    const url = await makeLink(app)
    const images = await Promise.all([
      makeImage('png'),
      makeImage('jpeg', { model: 'Box 1' }),
      makeImage('webp'),
    ])
    const answer = await app.inject({
      method: 'POST',
      url,
      ...multipart(images.map((body, n) => ({ body, filename: `${n}.bin` }))),
    })
    t.equal(answer.statusCode, 200)
    const { processed, rejected } = answer.json()
    t.strictSame(rejected, [])
    t.strictSame(
      processed.map(({ id: _, ...rest }: { id: string }) => rest),
      images.map((body, n) => ({
        name: `${n}.bin`,
        hash: sha256(body),
        size: body.length,
        duplicate: false,
        status: 'ready',
        metadata: {
          format: ['PNG', 'JPEG', 'WebP'][n],
          mediaType: ['image/png', 'image/jpeg', 'image/webp'][n],
          width: 8,
          height: 6,
          shownWidth: 8,
          shownHeight: 6,
          ...(n === 1 && { cameraMake: 'Acme', cameraModel: 'Box 1', orientation: 1 }),
          bitDepth: 8,
          colourSpace: 'sRGB',
          hasAlpha: false,
        },
      })),
    )
    for (const [n, { id }] of processed.entries()) {
      const got = await app.inject(`/images/${id}`)
      t.equal(got.statusCode, 200)
      t.equal(got.headers['content-type'], ['image/png', 'image/jpeg', 'image/webp'][n])
      t.ok(images[n]!.equals(got.rawPayload))
    }
  })

  await t.test('a hundred equal uploads at once end as one image and one object', async (t) => {
    const before = await keysOf(app)
    const url = await makeLink(app)
    const body = await makeImage('jpeg')
    const answers = await Promise.all(
      Array.from({ length: 100 }, () => app.inject({ method: 'POST', url, ...multipart([{ body }]) })),
    )
    t.ok(answers.every(({ statusCode }) => statusCode === 200))
    const processed = answers.map((answer) => answer.json().processed[0])
    const ids = new Set(processed.map(({ id }) => id))
    t.equal(ids.size, 1)
    t.equal(processed.filter(({ duplicate }) => !duplicate).length, 1)
    t.strictSame(
      (await keysOf(app)).filter((key) => !before.includes(key)),
      [...ids],
    )
    const link = (
      await app.inject({ url: url.replace('/uploads/', '/admin/ephemeral-links/'), headers: admin })
    ).json()
    t.equal(link.uploads, 100)
    t.equal(link.bytes, 100 * body.length)
  })
})
