import { admin, build, makeLink } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'

eachDatabase(async (t, env) => {
  const app = await build(t, { MAX_FILES: '50', ...env })
  const readStats = async () => (await app.inject({ url: '/admin/stats', headers: admin })).json()
  // The bytes of the images differ from run to run.
  const stats = async () =>
    JSON.parse(JSON.stringify(await readStats(), (key, value) => (key === 'bytes' ? undefined : value)))

  await t.test('statistics are empty before the first upload', async (t) => {
    t.strictSame(await stats(), { topFormats: [], top10CameraModels: [], uploadFrequency30Days: [] })
  })

  await t.test('all uploads are counted, including duplicates', async (t) => {
    const url = await makeLink(app)
    const upload = (...images: Buffer[]) =>
      app.inject({ method: 'POST', url, ...multipart(images.map((body) => ({ body }))) })
    // Twelve cameras: the first of 1 upload, the second of 2, …
    for (let n = 1; n <= 12; n++) {
      const body = await makeImage('jpeg', { model: `Model ${String(n).padStart(2, '0')}  ` })
      await upload(...Array.from({ length: n }, () => body))
    }
    const png = await makeImage('png')
    await upload(...Array.from({ length: 20 }, () => png), Buffer.from('no image'))

    const found = await stats()
    t.strictSame(found.popularFormat, { format: 'JPEG', uploads: 78 })
    t.strictSame(found.top10CameraModels, [
      { model: 'unknown', uploads: 20 },
      ...[12, 11, 10, 9, 8, 7, 6, 5, 4].map((n) => ({
        model: `Model ${String(n).padStart(2, '0')}`,
        uploads: n,
      })),
    ])
    const today = `${new Date().toISOString().slice(0, 10)}T00:00:00Z`
    t.strictSame(found.uploadFrequency30Days, [{ date: today, uploads: 98 }])
  })

  await t.test('cameras with equal counts have a stable order', async (t) => {
    const url = await makeLink(app)
    for (const model of ['Model C', 'Model A', 'Model B']) {
      const body = await makeImage('jpeg', { model })
      await app.inject({ method: 'POST', url, ...multipart(Array.from({ length: 30 }, () => ({ body }))) })
    }
    for (let n = 0; n < 3; n++) {
      t.strictSame(
        (await stats()).top10CameraModels.slice(0, 3),
        ['Model A', 'Model B', 'Model C'].map((model) => ({ model, uploads: 30 })),
      )
    }
  })

  await t.test('thirty days are listed, including today, without days that have no uploads', async (t) => {
    const { sql } = app.stores.data
    const dayBefore = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString().slice(0, 10)
    const [{ uploads: today }] = (await stats()).uploadFrequency30Days
    // As if these had come in then.
    for (const [days, uploads] of [
      [1, 4],
      [29, 3],
      [30, 2],
      [400, 1],
    ] as const) {
      const line = { kind: 'day', key: dayBefore(days), shard: 0, uploads, bytes: uploads }
      await sql`insert into upload_counts ${sql(line)}`
    }
    t.strictSame((await stats()).uploadFrequency30Days, [
      { date: `${dayBefore(0)}T00:00:00Z`, uploads: today },
      { date: `${dayBefore(1)}T00:00:00Z`, uploads: 4 },
      { date: `${dayBefore(29)}T00:00:00Z`, uploads: 3 },
    ])
  })
})
