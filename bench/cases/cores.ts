import { writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import { fill } from '../fill.ts'
import type { Case } from '../harness.ts'
import { makeJpeg } from '../images.ts'
import { get, needWrk, upload } from '../load/index.ts'
import { startHasty, startPostgres, temporaryFolder } from '../servers.ts'

const CORES = availableParallelism()
const ratio = { atLeast: 0.8 * CORES }

/** One API process for each core, compared with one process. The load and the database use the same cores. */
export const cores: Case[] = [
  {
    name: 'all-cores-get',
    title: `GET 20 KB, one image, ${CORES} API processes compared with 1`,
    unit: 'requests/s',
    ratio,
    async prepare(scope, { seconds }) {
      needWrk()
      const { images, env } = await fill(scope, [await makeJpeg(20_000)])
      const rate = async (API_PROCESSES: string) => {
        const { url } = await startHasty(scope, { ...env, API_PROCESSES })
        return () => get(`${url}/images/${images[0]!.id}`, { connections: 64, seconds })
      }
      return { baseline: await rate('1'), hasty: await rate('auto') }
    },
  },
  {
    name: 'all-cores-upload',
    title: `200 KB JPEGs, 32 clients, ${CORES} API processes compared with 1`,
    unit: 'uploads/s',
    ratio,
    async prepare(scope, { seconds }) {
      const createDatabase = await startPostgres(scope)
      const file = join(temporaryFolder(scope), 'image.jpg')
      writeFileSync(file, await makeJpeg(200_000))
      const rate = async (API_PROCESSES: string) => {
        const hasty = await startHasty(scope, { DATABASE_URL: await createDatabase(), API_PROCESSES })
        const url = await hasty.makeLink()
        const load = { url, file, size: 200_000, clients: 32, multipart: true, distinct: true, seconds }
        return async () => {
          const report = await upload(load)
          return report.uploads / report.seconds
        }
      }
      return { baseline: await rate('1'), hasty: await rate('auto') }
    },
  },
]
