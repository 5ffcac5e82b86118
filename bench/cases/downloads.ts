import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fill } from '../fill.ts'
import type { Case, Prepared, Scope } from '../harness.ts'
import { makeJpeg } from '../images.ts'
import { get, needWrk } from '../load/index.ts'
import { startBaseline, startHasty, startNginx, temporaryFolder } from '../servers.ts'

const CONNECTIONS = 64
const KB = 1000
const MB = 1000 * KB

const hot = (name: string, title: string, size: number, atLeast: number): Case => ({
  name,
  title,
  unit: 'requests/s',
  ratio: { atLeast },
  prepare: (scope, { seconds }) => againstNginx(scope, { size, count: 1, seconds }),
})

const cold = (name: string, title: string, size: number, count: number, atLeast: number): Case => ({
  name,
  title,
  unit: 'requests/s',
  ratio: { atLeast },
  prepare: (scope, { seconds }) => againstNginx(scope, { size, count, seconds }),
})

export const downloads: Case[] = [
  hot('get-20kb', 'GET 20 KB, one image', 20 * KB, 0.7),
  hot('get-200kb', 'GET 200 KB, one image', 200 * KB, 1),
  hot('get-2mb', 'GET 2 MB, one image', 2 * MB, 1),
  cold('get-20kb-cold', 'GET 20 KB, 20,000 images', 20 * KB, 20_000, 0.4),
  cold('get-2mb-cold', 'GET 2 MB, 400 images', 2 * MB, 400, 0.9),
  {
    name: 'not-modified',
    title: 'GET with If-None-Match: 304',
    unit: 'requests/s',
    ratio: { atLeast: 0.9 },
    async prepare(scope, { seconds }) {
      needWrk()
      const baseline = await startBaseline(scope, 'not-modified.ts')
      const { images, env } = await fill(scope, await copies(20 * KB, 1))
      const hasty = await startHasty(scope, env)
      const [image] = images
      const ask = (url: string) =>
        get(`${url}/images/${image!.id}`, {
          headers: { 'If-None-Match': `"${image!.hash}"` },
          connections: CONNECTIONS,
          seconds,
          status: 304,
        })
      return { baseline: () => ask(baseline.url), hasty: () => ask(hasty.url) }
    },
  },
]

/** Hasty and nginx serve the same files. */
async function againstNginx(
  scope: Scope,
  { size, count, seconds }: { size: number; count: number; seconds: number },
): Promise<Prepared> {
  needWrk()
  const { images, env, folder } = await fill(scope, await copies(size, count))
  const nginx = await startNginx(scope, folder)
  const hasty = await startHasty(scope, env)
  const ask = (url: string, paths: string[]) => {
    const script = paths.length > 1 ? inTurn(scope, paths) : undefined
    return () => get(url + paths[0], { connections: CONNECTIONS, seconds, script })
  }
  return {
    baseline: ask(
      nginx,
      images.map(({ path }) => `/${path}`),
    ),
    hasty: ask(
      hasty.url,
      images.map(({ id }) => `/images/${id}`),
    ),
  }
}

/** A script for wrk that requests all paths in turn, so that a cache of recent images does not help. */
function inTurn(scope: Scope, paths: string[]) {
  const folder = temporaryFolder(scope)
  writeFileSync(join(folder, 'paths'), `${paths.join('\n')}\n`)
  const script = join(folder, 'in-turn.lua')
  writeFileSync(
    script,
    `local requests = {}
    local next = 0
    function init()
      for path in io.lines("${folder}/paths") do
        requests[#requests + 1] = wrk.format("GET", path)
      end
    end
    function request()
      next = next % #requests + 1
      return requests[next]
    end\n`,
  )
  return script
}

async function copies(size: number, count: number) {
  const jpeg = await makeJpeg(size)
  return Array.from({ length: count }, () => jpeg)
}
