import { pathToFileURL } from 'node:url'
import t from 'tap'
import { type App, admin, build, makeLink } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { startPostgres } from '../helpers/postgres.ts'

const postgres = startPostgres(t)

async function upload(app: App, ...bodies: Buffer[]) {
  const parts = multipart(bodies.map((body) => ({ body, filename: 'a.jpg' })))
  const answer = await app.inject({ method: 'POST', url: await makeLink(app), ...parts })
  return answer.json().processed as { id: string; duplicate: boolean }[]
}

t.test(
  'with HIDE_DUPLICATES no sender learns which images are known',
  { skip: postgres.missing },
  async (t) => {
    const env = {
      DATABASE_URL: await postgres.createDatabase('serializable'),
      OBJECT_STORE_URL: pathToFileURL(newFolder(t)).href,
    }
    const open = await build(t, env)
    const app = await build(t, { ...env, HIDE_DUPLICATES: 'true' })
    const body = await makeImage('jpeg', { model: 'Box 1' })

    const [known] = await upload(open, body)
    t.match(await upload(open, body), [{ id: known!.id, duplicate: true }], 'else a duplicate is told')

    const [unknown] = await upload(app, await makeImage('jpeg', { model: 'Box 1' }))
    const [one, other] = await upload(app, body, body)
    t.equal(new Set([known, one, other].map((image) => image!.id)).size, 3, 'each has an id of its own')
    const told = ({ id: _, ...answer }: object & { id: string }) => ({ ...answer, hash: '', size: 0 })
    for (const image of [one, other])
      t.strictSame(told(image!), told(unknown!), 'it is answered like one that nobody has sent before')
    for (const image of [known, one, other])
      t.ok(body.equals((await app.inject(`/images/${image!.id}`)).rawPayload), 'each is served')

    await app.inject({ method: 'DELETE', url: `/admin/images/${one!.id}`, headers: admin })
    t.equal((await app.inject(`/images/${one!.id}`)).statusCode, 410)
    for (const image of [known, other])
      t.equal((await app.inject(`/images/${image!.id}`)).statusCode, 200, 'the others stay')
    t.match(await upload(open, body), [{ id: known!.id, duplicate: true }], 'what is shared stays so')
  },
)
