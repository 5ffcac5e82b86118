import t from 'tap'
import { build, makeLink, objectsOf } from '../helpers/app.ts'
import { makeImage } from '../helpers/images.ts'
import { chunk, png } from '../helpers/make.ts'
import { multipart } from '../helpers/multipart.ts'

t.test('ACCEPT limits the accepted formats', async (t) => {
  const app = await build(t, { ACCEPT: 'image/jpeg, image/png' })
  const url = await makeLink(app)
  const post = (...bodies: Buffer[]) =>
    app.inject({ method: 'POST', url, ...multipart(bodies.map((body) => ({ body }))) })

  const gif = await makeImage('gif')
  // It begins as any PNG.
  const apng = png([chunk('acTL', Buffer.from([0, 0, 0, 3, 0, 0, 0, 0]))])
  const mixed = await post(await makeImage('jpeg'), gif, apng, await makeImage('png'), Buffer.from('text'))
  t.equal(mixed.statusCode, 200)
  t.equal(mixed.json().processed.length, 2)
  t.strictSame(
    mixed.json().rejected.map(({ reason }: { reason: string }) => reason),
    ['not_accepted', 'not_accepted', 'not_an_image'],
  )
  t.equal((await Array.fromAsync(objectsOf(app).list())).length, 2, 'nothing else is kept')

  const alone = await post(gif)
  t.equal(alone.statusCode, 415)
  t.match(alone.json(), { type: 'urn:hasty:problem:not-accepted', rejected: [{ reason: 'not_accepted' }] })
})

t.test('above INLINE_LIMIT the first bytes decide whether a format is accepted', async (t) => {
  const app = await build(t, { ACCEPT: 'image/jpeg', INLINE_LIMIT: '0' })
  const answer = await app.inject({
    method: 'POST',
    url: await makeLink(app),
    ...multipart([{ body: await makeImage('png', { width: 400, height: 300 }) }]),
  })
  t.equal(answer.statusCode, 415)
  t.strictSame(await Array.fromAsync(objectsOf(app).list()), [])
})

t.test('a media type that is not known is refused at the start', async (t) => {
  for (const ACCEPT of ['image/jpg', 'image/*', 'jpeg', 'image/jpeg,', 'image/svg.xml'])
    await t.rejects(
      build(t, { ACCEPT }),
      { message: /^ACCEPT is .* but must be a list of supported media types/ },
      ACCEPT,
    )
})
