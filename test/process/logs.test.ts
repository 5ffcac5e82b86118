import t from 'tap'
import { admin, TOKEN } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { startServer, until } from '../helpers/server.ts'

t.test('the log contains no token, id or file name at any level', async (t) => {
  const env = { DATA_DIR: newFolder(t), LOG_LEVEL: 'trace', INLINE_LIMIT: '0' }
  const server = await startServer(t, env, { database: 'lent' })
  const link = await server.makeLink()
  const form = new FormData()
  form.append('image', new Blob([(await makeImage()) as Uint8Array<ArrayBuffer>]), 'a-telling-name.png')
  // This call needs no token. If a client sends one, the log must not contain it either.
  const headers = { ...admin, authorization: 'Bearer another-secret', cookie: 'a-cookie=of-somebody' }
  const answer = await fetch(link, { method: 'POST', body: form, headers })
  const { processed } = (await answer.json()) as { processed: { id: string }[] }
  const { id } = processed[0]!
  const linkId = link.split('/').at(-1)!

  await until(async () => server.lines.find((line) => line.includes('analysed')))
  await fetch(`${server.url}/images/${id}`)
  await fetch(`${server.url}/images/${id}?metadata=some`)
  await fetch(`${server.url}/nowhere/${id}`)
  await fetch(`${server.url}/images/${id}%zz`)
  await fetch(`${server.url}/admin/images/${id}?cursor=${id}`, {
    headers: { authorization: `Bearer ${TOKEN}` },
  })
  await fetch(`${server.url}/admin/images/${id}`, { headers: { ...admin, authorization: `Bearer ${TOKEN}` } })
  await fetch(link, { method: 'POST', body: '{', headers: { ...admin, 'content-type': 'application/json' } })
  await fetch(`${server.url}/admin/images/${id}`, { headers: admin })
  await fetch(`${server.url}/admin/stats`, { headers: { 'x-access-token': 'a-wrong-token' } })
  await fetch(`${server.url}/admin/images/${id}`, { method: 'DELETE', headers: admin })
  await fetch(`${server.url}/images/${id}`)
  await fetch(`${server.url}/admin/ephemeral-links/${linkId}`, { method: 'DELETE', headers: admin })
  t.equal(await server.end('SIGTERM'), 0)

  const log = server.lines.join('\n')
  t.match(log, /"route":"\/images\/:id"/)
  t.match(log, /"imageId":"id-[0-9a-f]{8}"/)
  for (const secret of [
    TOKEN,
    'a-wrong-token',
    'another-secret',
    'of-somebody',
    id,
    linkId,
    'a-telling-name',
  ]) {
    t.notOk(log.includes(secret), secret)
  }
})
