import { spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { admin } from '../helpers/app.ts'
import { newFolder } from '../helpers/folder.ts'
import { makeImage } from '../helpers/images.ts'
import { freePort } from '../helpers/ports.ts'
import { post, runToEnd, send, startServer, until } from '../helpers/server.ts'
import { drawPanels, readPanels } from './dashboard.ts'

const skip = spawnSync('promtool', ['--version']).status === 0 ? false : 'prometheus is not installed'

t.test('promtool finds no fault in the metrics', { skip }, async (t) => {
  const port = await freePort()
  const env = { DATA_DIR: newFolder(t), METRICS_PORT: String(port) }
  const server = await startServer(t, env, { database: 'lent' })
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

t.test('each query of the dashboard returns data of a real run', { skip }, async (t) => {
  const port = await freePort()
  const env = { DATA_DIR: newFolder(t), METRICS_PORT: String(port) }
  const server = await startServer(t, env)
  const prometheus = await startPrometheus(t, port)
  const link = await server.makeLink()
  const stop = new AbortController()
  const load = async () => {
    while (!stop.signal.aborted) {
      const { id } = await post(link, await makeImage())
      await send(link, Buffer.from('no image'))
      for (const query of ['', '?w=160', '?w=161'])
        await (await fetch(`${server.url}/images/${id}${query}`)).bytes()
      await fetch(`${server.url}/nothing`)
      await sleep(100)
    }
  }
  const loading = load()
  t.equal(await runToEnd('sweep.ts', { ...env, METRICS_PORT: '' }), 0)
  const withoutData = async () =>
    (await readPanels(prometheus, 60, '10s')).flatMap(({ title, queries }) =>
      queries.filter(({ lines }) => lines.length === 0).map(({ expr }) => `${title}: ${expr}`),
    )
  await until(async () => (await withoutData()).length === 0 || undefined, 45_000).catch(() => {})
  stop.abort()
  await loading
  t.strictSame(await withoutData(), [])
  const panels = await readPanels(prometheus, 60, '10s')
  const rejected = panels.find(({ title }) => title === 'Rejected parts by reason')!.queries[0]!.lines
  t.ok(rejected.find(({ name }) => name === 'not_an_image')!.points.some(([, value]) => value > 0))
  const svg = drawPanels(panels)
  t.equal(svg.match(/<g /g)!.length, panels.length)
  t.notMatch(svg, /NaN|Infinity|undefined/)

  const runbook = /^### HastyErrorBudgetBurn[\s\S]*?^## /m.exec(
    readFileSync('docs/operations.md', 'utf8'),
  )![0]
  const named = [...runbook.matchAll(/`([^`\n]*hasty_\w+[^`\n]*)`/g)].map(([, query]) => query!)
  t.ok(named.length >= 5, 'the runbook has queries')
  for (const query of named) {
    const url = `${prometheus}/api/v1/query?query=${encodeURIComponent(query)}`
    const { data } = (await (await fetch(url)).json()) as { data?: { result: object[] } }
    t.ok(data?.result.length, `the runbook's query returns data: ${query}`)
  }
  await server.end('SIGTERM')
})

/** Starts Prometheus, which reads the metrics on a port each second. Resolves with its URL. */
async function startPrometheus(t: Test, target: number) {
  const folder = newFolder(t)
  const file = join(folder, 'prometheus.yml')
  const jobs = [{ job_name: 'hasty', static_configs: [{ targets: [`127.0.0.1:${target}`] }] }]
  writeFileSync(file, JSON.stringify({ global: { scrape_interval: '1s' }, scrape_configs: jobs }))
  const url = `http://127.0.0.1:${await freePort()}`
  const child = spawn(
    'prometheus',
    [
      `--config.file=${file}`,
      `--storage.tsdb.path=${folder}/data`,
      `--web.listen-address=${new URL(url).host}`,
    ],
    { stdio: 'ignore' },
  )
  t.teardown(() => child.kill('SIGKILL'))
  await until(async () => (await fetch(`${url}/-/ready`)).ok || undefined, 30_000)
  return url
}
