import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fill } from '../fill.ts'
import type { Case } from '../harness.ts'
import { makeJpeg, photograph } from '../images.ts'
import { get, needWrk, renderInLoop } from '../load/index.ts'
import { admin, startHasty, temporaryFolder } from '../servers.ts'

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
      const { images, env } = await fill(scope, [source])
      const first = await startHasty(scope, env)
      const variant = `${first.url}/images/${images[0]!.id}?${VARIANT}`
      const bytes = (await (await fetch(variant)).arrayBuffer()).byteLength
      const plain = await fill(scope, [await makeJpeg(bytes)])
      const second = await startHasty(scope, plain.env)
      const load = { connections: CONNECTIONS, seconds }
      return {
        baseline: () => get(`${second.url}/images/${plain.images[0]!.id}`, load),
        hasty: () => get(variant, load),
      }
    },
  },
  {
    name: 'variants',
    title: 'new variants of 3 megapixel JPEGs, compared with a plain loop over sharp for each core',
    unit: 'files/s',
    ratio: { atLeast: 0.9 },
    async prepare(scope, { seconds }) {
      const source = await photograph({ width: 2048, height: 1536 })
      const { images, env, folder } = await fill(
        scope,
        Array.from({ length: IMAGES }, () => source),
      )
      const list = join(temporaryFolder(scope), 'files')
      writeFileSync(list, images.map(({ path }) => join(folder, path)).join('\n'))
      const hasty = await startHasty(scope, env)
      const make = async (some: typeof images) => {
        for (const { id } of some) await (await fetch(`${hasty.url}/images/${id}?${VARIANT}`)).arrayBuffer()
      }
      const cores = availableParallelism()
      return {
        baseline: async () => {
          const loops = Array.from({ length: cores }, () => renderInLoop({ list, seconds }))
          return (await Promise.all(loops)).reduce((sum, each) => sum + each, 0)
        },
        async hasty() {
          await fetch(`${hasty.url}/admin/variants`, { method: 'DELETE', headers: admin })
          const startedAt = performance.now()
          // Twice as many clients as processes, so that no process waits.
          const clients = Array.from({ length: 2 * cores }, (_, n) =>
            make(images.filter((_, index) => index % (2 * cores) === n)),
          )
          await Promise.all(clients)
          return IMAGES / ((performance.now() - startedAt) / 1000)
        },
      }
    },
  },
]
