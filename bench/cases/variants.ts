import { symlinkSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import sharp from 'sharp'
import { fill } from '../fill.ts'
import { type Case, Missing, type Scope } from '../harness.ts'
import { makeJpeg, photograph } from '../images.ts'
import { get, needWrk, renderInLoop } from '../load/index.ts'
import { admin, startBaseline, startHasty, temporaryFolder } from '../servers.ts'

const CONNECTIONS = 64
const IMAGES = 60
const VARIANT = 'w=640&format=webp'

/** Variants, hot and new. */
export const variants: Case[] = [
  {
    name: 'get-variant',
    title: 'GET a variant, compared with an image of its size',
    unit: 'requests/s',
    ratio: { atLeast: 0.9 },
    async prepare(scope, { seconds }) {
      needWrk()
      const source = await photograph({ width: 2048, height: 1536 })
      const { length } = await sharp(source).resize(640).webp({ quality: 75, effort: 3 }).toBuffer()
      const { images, env } = await fill(scope, [source, await makeJpeg(length)])
      // One process for both, because a process can be slow for its whole life.
      const { url } = await startHasty(scope, env)
      const load = { connections: CONNECTIONS, seconds }
      return {
        baseline: () => get(`${url}/images/${images[1]!.id}`, load),
        hasty: () => get(`${url}/images/${images[0]!.id}?${VARIANT}`, load),
      }
    },
  },
  {
    name: 'variants',
    title: 'new variants of 3 megapixel JPEGs, compared with a plain loop over sharp for each core',
    unit: 'files/s',
    ratio: { atLeast: 0.9 },
    async prepare(scope, { seconds }) {
      const { images, folder, hasty } = await startWithPhotographs(scope)
      const list = join(temporaryFolder(scope), 'files')
      writeFileSync(list, images.map(({ path }) => join(folder, path)).join('\n'))
      const cores = availableParallelism()
      return {
        baseline: async () => {
          const loops = Array.from({ length: cores }, () => renderInLoop({ list, seconds }))
          return (await Promise.all(loops)).reduce((sum, each) => sum + each, 0)
        },
        hasty: () => newVariantsPerSecond(hasty.url, images),
      }
    },
  },
  {
    name: 'variants-ipx',
    title: 'new variants of 3 megapixel JPEGs, compared with ipx',
    unit: 'files/s',
    ratio: { atLeast: 0.9 },
    async prepare(scope) {
      const { IPX } = process.env
      if (!IPX)
        throw new Missing('ipx is not installed: run npm i ipx in another folder, and set IPX to its path')
      const { images, folder, hasty } = await startWithPhotographs(scope)
      // ipx refuses a file without an extension.
      const named = temporaryFolder(scope)
      for (const { id, path } of images) symlinkSync(join(folder, path), join(named, `${id}.jpg`))
      const ipx = await startBaseline(scope, 'ipx.ts', { FOLDER: named, IPX })
      return {
        baseline: () =>
          filesPerSecond(images.map(({ id }) => `${ipx.url}/w_640,f_webp,q_75,effort_3/${id}.jpg`)),
        hasty: () => newVariantsPerSecond(hasty.url, images),
      }
    },
  },
]

async function startWithPhotographs(scope: Scope) {
  const source = await photograph({ width: 2048, height: 1536 })
  const sources = Array.from({ length: IMAGES }, () => source)
  const { images, env, folder } = await fill(scope, sources)
  return { images, folder, hasty: await startHasty(scope, env) }
}

async function newVariantsPerSecond(url: string, images: { id: string }[]) {
  await fetch(`${url}/admin/variants`, { method: 'DELETE', headers: admin })
  return filesPerSecond(images.map(({ id }) => `${url}/images/${id}?${VARIANT}`))
}

/** Requests each URL once, by twice as many clients as cores, so that no process waits. */
async function filesPerSecond(urls: string[]) {
  const clients = 2 * availableParallelism()
  const startedAt = performance.now()
  const request = async (n: number) => {
    for (const url of urls.filter((_, index) => index % clients === n)) {
      const answer = await fetch(url)
      await answer.arrayBuffer()
      if (!answer.ok) throw new Error(`${url} answered ${answer.status}`)
    }
  }
  await Promise.all(Array.from({ length: clients }, (_, n) => request(n)))
  return urls.length / ((performance.now() - startedAt) / 1000)
}
