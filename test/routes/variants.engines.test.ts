import sharp from 'sharp'
import t, { type Test } from 'tap'
import { type App, build, makeLink } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { multipart } from '../helpers/multipart.ts'
import { startPostgres } from '../helpers/postgres.ts'

const postgres = startPostgres(t)
const noisy = (width: number, height: number) =>
  sharp({
    create: {
      width,
      height,
      channels: 3,
      background: '#777',
      noise: { type: 'gaussian', mean: 128, sigma: 30 },
    },
  })

async function upload(app: App, body: Buffer) {
  const answer = await app.inject({ method: 'POST', url: await makeLink(app), ...multipart([{ body }]) })
  if (answer.statusCode !== 200) throw new Error(answer.body)
  return answer.json().processed[0].id as string
}

/** Three instances of the service with one database and one object store, each with caches and decoders of its own. */
async function three(t: Test) {
  const env = {
    DATABASE_URL: await postgres.createDatabase(),
    OBJECT_STORE_URL: `file://${newFolder(t)}/objects`,
  }
  const first = await build(t, env)
  return [first, await build(t, env), await build(t, env)]
}

t.test(
  'three instances make a variant once for 1,000 requests at the same time',
  { skip: postgres.missing },
  async (t) => {
    const apps = await three(t)
    const id = await upload(apps[0]!, await noisy(1600, 1200).jpeg().toBuffer())
    const answers = await Promise.all(
      Array.from({ length: 1_000 }, (_, n) => apps[n % 3]!.inject(`/images/${id}?w=640&format=webp`)),
    )
    const etags = new Set(answers.map(({ statusCode, headers }) => `${statusCode} ${headers.etag}`))
    t.equal(etags.size, 1)
    t.match([...etags][0], /^200 /)
    t.equal(
      apps.reduce((sum, { services }) => sum + services.variants.counts.created, 0),
      1,
    )
  },
)

t.test('10,000 sizes without a signature make nothing', async (t) => {
  const app = await build(t)
  const id = await upload(app, await noisy(100, 100).jpeg().toBuffer())
  const listed = new Set(app.config.variantSizes)
  let refused = 0
  for (let n = 0; n < 10_000; n++) {
    const w = (n % 8_000) + 1
    const query = listed.has(w) || n >= 8_000 ? `w=160&h=${n}1` : `w=${w}`
    const answer = await app.inject(`/images/${id}?${query}`)
    if (answer.statusCode === 400) refused++
  }
  t.equal(refused, 10_000)
  t.equal((await app.stores.data.sql`select spec from variants`).length, 0)
})
