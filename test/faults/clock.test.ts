import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { admin } from '../helpers/app.ts'
import { eachDatabase } from '../helpers/databases.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { post, startServer, until } from '../helpers/server.ts'
import { type Answered, hasNoOrphans, watch, wrongAmong } from './harness.ts'

eachDatabase(async (t, database) => {
  await t.test('uploads, links, analysis and statistics work after the clock jumps', async (t) => {
    const folder = newFolder(t)
    const CLOCK_FILE = join(folder, 'clock')
    const env: Record<string, string> = {
      DATA_DIR: join(folder, 'data'),
      CLOCK_FILE,
      NODE_OPTIONS: `--import=${fileURLToPath(new URL('clock.ts', import.meta.url))}`,
      INLINE_LIMIT: '0',
      ...database,
    }
    const jump = async (hours: number) => {
      writeFileSync(CLOCK_FILE, `${hours}`)
      await sleep(100)
    }
    await jump(0)
    const server = await startServer(t, env, { database: 'lent' })
    const answered: Answered = new Map()
    const lines = () => server.lines.map((line) => JSON.parse(line) as { level: number; msg: string })
    const link = await server.makeLink()
    const upload = async (url: string) => {
      const { id, hash } = await post(url, await makeImage())
      answered.set(id, hash)
      await until(async () => {
        const answer = await fetch(`${server.url}/admin/images/${id}`, { headers: admin })
        return ((await answer.json()) as { status: string }).status === 'ready' || undefined
      }, 20_000)
    }
    await upload(link)
    const isUnharmed = await watch(server)

    for (const hours of [-24, 24 * 400, 0]) {
      await jump(hours)
      const fresh = await server.makeLink()
      await upload(fresh)
      t.strictSame(await wrongAmong(server.url, answered), [], `${hours} h: each is served`)
      const stats = await fetch(`${server.url}/admin/stats`, { headers: admin })
      t.equal(stats.status, 200)
      if (hours > 0)
        await t.rejects(post(link, await makeImage()), 'a link whose time is over by that clock is closed')
    }
    await upload(link)
    t.strictSame(await wrongAmong(server.url, answered), [])
    t.strictSame(
      lines().filter(({ level }) => level >= 50),
      [],
      'no error was logged',
    )
    await jump(0)
    await hasNoOrphans(t, server, { ...env, NODE_OPTIONS: '' }, join(folder, 'data', 'objects'))
    await isUnharmed(t)
  })
})
