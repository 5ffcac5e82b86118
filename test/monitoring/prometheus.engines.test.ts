import { spawnSync } from 'node:child_process'
import t from 'tap'
import { admin } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { freePort } from '../helpers/ports.ts'
import { post, send, startServer, until } from '../helpers/server.ts'

const skip = spawnSync('promtool', ['--version']).status === 0 ? false : 'prometheus is not installed'

t.test('promtool finds no fault in the metrics', { skip }, async (t) => {
  const port = await freePort()
  const server = await startServer(t, { DATA_DIR: newFolder(t), METRICS_PORT: String(port) })
  const link = await server.makeLink()
  const { id } = await post(link, await makeImage())
  await send(link, Buffer.from('no image'))
  await fetch(`${server.url}/images/${id}`)
  await fetch(`${server.url}/admin/images`, { headers: admin })
  const metrics = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text()
  await until(
    async () => /hasty_analysis_duration_seconds_count\{verdict="ready"\} 1/.exec(await metrics())?.[0],
    60_000,
  )
  const input = await metrics()
  const { stdout, stderr, status } = spawnSync('promtool', ['check', 'metrics'], { input, encoding: 'utf8' })
  t.equal(stdout + stderr, '')
  t.equal(status, 0)
  t.notMatch(input, /[0-9A-Za-z]{48}|127\.0\.0\.1/, 'no label has an id or an address')
  await server.end('SIGTERM')
})
