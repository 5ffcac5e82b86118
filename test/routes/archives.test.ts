import { admin, build, makeLink, objectsOf } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'
import { isProblem } from '../helpers/problem.ts'
import { readZip } from '../helpers/zip.ts'

eachDatabase(async (t, env) => {
  const app = await build(t, { MAX_FILES: '50', ...env })
  const upload = async (link: string, files: { filename: string; body: Buffer }[]) => {
    const answer = await app.inject({ method: 'POST', url: link, ...multipart(files) })
    return answer.json().processed as { id: string; hash: string }[]
  }
  const get = (url: string) => app.inject({ url, headers: admin })
  const linkUrl = (link: string) => link.replace('/uploads/', '/admin/ephemeral-links/')

  await t.test('an archive has all images of a link with their names and their bytes', async (t) => {
    const link = await makeLink(app)
    const bodies = await Promise.all(['one.jpg', 'two.jpg'].map(() => makeImage('jpeg')))
    await upload(link, [
      { filename: 'one.jpg', body: bodies[0]! },
      { filename: 'again.jpg', body: bodies[0]! },
      { filename: 'Größe 東京.jpg', body: bodies[1]! },
    ])
    await upload(await makeLink(app), [{ filename: 'other.jpg', body: await makeImage('jpeg') }])
    const answer = await get(`${linkUrl(link)}/archive.zip`)
    t.match(answer, {
      statusCode: 200,
      headers: { 'content-type': 'application/zip', 'content-disposition': /attachment; filename=".+\.zip"/ },
    })
    const files = readZip(answer.rawPayload).sort((a, b) => (a.name < b.name ? -1 : 1))
    t.strictSame(
      files.map(({ name }) => name),
      ['Größe 東京.jpg', 'one.jpg'],
    )
    t.ok(files[1]!.bytes.equals(bodies[0]!))
    t.ok(files[0]!.bytes.equals(bodies[1]!))
    isProblem(t, await get(`/admin/ephemeral-links/${'x'.repeat(48)}/archive.zip`), 404, 'link-not-found')
  })

  await t.test('equal and hostile names become different, safe names', async (t) => {
    const link = await makeLink(app)
    const names = ['same.png', 'SAME.png', 'same.png', '../../etc/passwd', 'C:\\boot.ini.png', 'con.png']
    names.push('a?b|c.png', '..', `${'x'.repeat(250)}.png`, 'no extension', '.hidden.png', 'LPT1')
    const bodies = await Promise.all(names.map(() => makeImage('png')))
    await upload(
      link,
      names.map((filename, n) => ({ filename, body: bodies[n]! })),
    )
    const found = readZip((await get(`${linkUrl(link)}/archive.zip`)).rawPayload).map(({ name }) => name)
    t.equal(found.length, names.length)
    t.equal(new Set(found.map((name) => name.toLowerCase())).size, names.length, found.join())
    for (const name of found) {
      t.notMatch(name, /[/\\:?|<>*"]|^\.|[. ]$|^(con|lpt1)(\.|$)/i, name)
      t.match(name, /\.\w+$/, name)
      t.ok(Buffer.byteLength(name) <= 255, name)
    }
    t.ok(found.includes('passwd.png'), found.join())
    t.ok(found.includes('no extension.png'), found.join())
  })

  await t.test('images are found by their name, hash and ids, also for an archive', async (t) => {
    const link = await makeLink(app)
    const [first, second] = await upload(link, [
      { filename: 'Holiday_100%.png', body: await makeImage('png') },
      { filename: 'work.png', body: await makeImage('png') },
    ])
    const find = async (query: string) =>
      (await get(`/admin/images?${query}`)).json().items.map(({ id }: { id: string }) => id)
    t.strictSame(await find('name=holiday_1'), [first!.id])
    t.strictSame(await find('name=y_100%25'), [first!.id])
    t.strictSame(await find('name=holidayX'), [])
    t.strictSame(await find(`name=_&link=${link.slice(9)}`), [first!.id], '_ is no pattern')
    t.strictSame(await find(`hash=${second!.hash}`), [second!.id])
    t.strictSame(await find(`hash=${second!.hash.slice(0, 12)}`), [second!.id])
    t.strictSame((await find(`ids=${second!.id},${first!.id}`)).sort(), [first!.id, second!.id].sort())
    const names = readZip((await get(`/admin/images/archive.zip?ids=${second!.id}`)).rawPayload)
    t.match(names, [{ name: 'work.png' }])
    isProblem(t, await get('/admin/images?hash=XYZ'), 400, 'invalid-request')

    const { uploads } = (await get(`/admin/images/${first!.id}`)).json()
    t.match(uploads, [{ name: 'Holiday_100%.png', link: { id: link.slice(9) }, duplicate: false }])
  })

  await t.test('a missing object does not end the archive: its name is in missing.txt', async (t) => {
    const link = await makeLink(app)
    const [lost] = await upload(link, [
      { filename: 'lost.png', body: await makeImage('png') },
      { filename: 'there.png', body: await makeImage('png') },
    ])
    await objectsOf(app).delete(lost!.id)
    const files = readZip((await get(`${linkUrl(link)}/archive.zip`)).rawPayload)
    t.strictSame(files.map(({ name }) => name).sort(), ['missing.txt', 'there.png'])
    t.equal(String(files.find(({ name }) => name === 'missing.txt')!.bytes), 'lost.png\r\n')
  })

  await t.test('links are found by their label, description and id', async (t) => {
    const body = { sinceNow: 'PT1H', label: 'Wedding 100%', description: 'For Ada' }
    const id = (await makeLink(app, body)).slice(9)
    const find = async (search: string) =>
      (await get(`/admin/ephemeral-links?search=${encodeURIComponent(search)}`))
        .json()
        .items.map((link: { id: string }) => link.id)
    for (const text of ['wedding', '100%', 'for ada', id]) t.strictSame(await find(text), [id], text)
    for (const text of ['wedd_ng', '%%', id.slice(1)]) t.strictSame(await find(text), [], text)
  })

  await t.test('the state of the service and the bytes of the statistics can be read', async (t) => {
    t.match((await get('/admin/operation')).json(), {
      version: /^\d/,
      queue: { waiting: Number },
      unreachable: [],
    })
    const stats = (await get('/admin/stats')).json()
    t.match(stats.topFormats[0], { format: 'PNG', uploads: Number, bytes: Number })
    t.ok(stats.uploadFrequency30Days[0].bytes > 1000)
  })
})
