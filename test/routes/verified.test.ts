import t from 'tap'
import { admin, build, makeLink } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'

t.test('with SERVE=verified an image is served only after a decoder has decoded it', async (t) => {
  const app = await build(t, { SERVE: 'verified' })
  const url = await makeLink(app)
  const upload = async (body: Buffer) => {
    const response = await app.inject({ method: 'POST', url, ...multipart([{ body }]) })
    return response.json().processed?.[0]?.id as string
  }
  const id = await upload(await makeImage('jpeg'))
  for (const path of [`/images/${id}`, `/images/${id}?metadata=none`])
    isProblem(t, await app.inject(path), 404, 'image-not-verified', /decoded/, path)
  t.equal((await app.inject({ url: `/admin/images/${id}/content`, headers: admin })).statusCode, 200)

  await app.stores.data.sql`update images set placeholder = 'AAAA', due_at = null where id = ${id}`
  app.cache.images.delete(id)
  t.equal((await app.inject(`/images/${id}`)).statusCode, 200, 'as a worker records it')

  const failed = await upload(await makeImage('png'))
  await app.stores.data.sql`update images set status = 'failed', due_at = null where id = ${failed}`
  isProblem(t, await app.inject(`/images/${failed}`), 404, 'image-not-verified')
})
