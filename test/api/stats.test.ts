import { admin, build, makeLink } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { makeImage } from '../helpers/images.ts'
import { multipart } from '../helpers/multipart.ts'

eachDatabase(async (t, env) => {
  const app = await build(t, { MAX_FILES: '50', ...env })
  const stats = async () => (await app.inject({ url: '/admin/stats', headers: admin })).json()

  await t.test('before the first upload', async (t) => {
    t.strictSame(await stats(), { top10CameraModels: [], uploadFrequency30Days: [] })
  })

  await t.test('uploads are counted, duplicates too', async (t) => {
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
})
