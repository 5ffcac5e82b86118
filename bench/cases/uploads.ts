import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Case, Effort, Prepared, Scope } from '../harness.ts'
import { makeJpeg } from '../images.ts'
import { upload, uploadResumably } from '../load/index.ts'
import { startBaseline, startHasty, startPostgres, temporaryFolder } from '../servers.ts'

const MB = 1e6
const MiB = 2 ** 20
const SMALL = 200_000
const CLIENTS = 32

export const uploads: Case[] = [
  {
    name: 'upload-1gb',
    title: 'one upload of 1 GiB',
    unit: 'MB/s',
    ratio: { atLeast: 0.9 },
    prepare: (scope, effort) => large(scope, { clients: 1, size: 1024 * MiB * effort.scale }),
  },
  {
    name: 'upload-16x64mb',
    title: '16 uploads of 64 MiB at once',
    unit: 'MB/s',
    ratio: { atLeast: 0.9 },
    prepare: (scope, effort) => large(scope, { clients: 16, size: 64 * MiB * effort.scale }),
  },
  {
    name: 'upload-tus-1gb',
    title: '1 GiB by tus in one PATCH, compared with multipart',
    unit: 'MB/s',
    ratio: { atLeast: 0.9 },
    prepare: (scope, effort) => resumable(scope, { size: 1024 * MiB * effort.scale, part: 1024 * MiB }),
  },
  {
    name: 'upload-tus-8mib',
    title: '1 GiB by tus in parts of 8 MiB, compared with multipart',
    unit: 'MB/s',
    ratio: { atLeast: 0.7 },
    prepare: (scope, effort) => resumable(scope, { size: 1024 * MiB * effort.scale, part: 8 * MiB }),
  },
  {
    name: 'upload-200kb-postgres',
    title: '200 KB JPEGs, 32 clients, PostgreSQL',
    unit: 'uploads/s',
    ratio: { atLeast: 0.7 },
    async prepare(scope, effort) {
      const createDatabase = await startPostgres(scope)
      return small(scope, effort, async () => ({ DATABASE_URL: await createDatabase() }))
    },
  },
  {
    name: 'upload-200kb-embedded',
    title: '200 KB JPEGs, 32 clients, embedded database (both sides flush it)',
    unit: 'uploads/s',
    ratio: { atLeast: 0.75 },
    prepare: (scope, effort) => small(scope, effort, async () => ({})),
  },
  {
    name: 'upload-duplicate',
    title: 'duplicates of 200 KB, compared with new images',
    unit: 'uploads/s',
    ratio: { atLeast: 1 },
    async prepare(scope, effort) {
      const createDatabase = await startPostgres(scope)
      const hasty = await startHasty(scope, { DATABASE_URL: await createDatabase() })
      const url = await hasty.makeLink()
      const file = await jpegFile(scope, SMALL)
      const uploads = (distinct: boolean) => uploadsPerSecond({ url, file, effort, distinct })
      return { baseline: () => uploads(true), hasty: () => uploads(false) }
    },
  },
]

/** Both sides get the same bytes, the baseline without multipart. */
async function large(scope: Scope, { clients, size }: { clients: number; size: number }): Promise<Prepared> {
  const baseline = await startBaseline(scope, 'raw-upload.ts', { FOLDER: temporaryFolder(scope) })
  const hasty = await startHasty(scope)
  const link = await hasty.makeLink()
  const file = await jpegFile(scope, MiB)
  const bytesPerSecond = async (url: string, multipart: boolean) => {
    const { bytes, seconds } = await upload({ url, multipart, file, size, clients, distinct: true })
    return bytes / seconds / MB
  }
  return {
    baseline: () => bytesPerSecond(baseline.url, false),
    hasty: () => bytesPerSecond(link, true),
  }
}

/** Both sides are Hasty. The baseline uploads the same bytes in one multipart request. */
async function resumable(scope: Scope, { size, part }: { size: number; part: number }): Promise<Prepared> {
  const hasty = await startHasty(scope)
  const url = await hasty.makeLink()
  const file = await jpegFile(scope, MiB)
  return {
    async baseline() {
      const { bytes, seconds } = await upload({
        url,
        multipart: true,
        file,
        size,
        clients: 1,
        distinct: true,
      })
      return bytes / seconds / MB
    },
    hasty: async () => size / (await uploadResumably({ url, file, size, part })) / MB,
  }
}

async function small(
  scope: Scope,
  effort: Effort,
  database: () => Promise<Record<string, string>>,
): Promise<Prepared> {
  const FOLDER = temporaryFolder(scope)
  const baseline = await startBaseline(scope, 'busboy-upload.ts', { FOLDER, ...(await database()) })
  const hasty = await startHasty(scope, await database())
  const link = await hasty.makeLink()
  const file = await jpegFile(scope, SMALL)
  return {
    baseline: () => uploadsPerSecond({ url: baseline.url, file, effort, distinct: true }),
    hasty: () => uploadsPerSecond({ url: link, file, effort, distinct: true }),
  }
}

async function uploadsPerSecond({
  url,
  file,
  effort: { seconds },
  distinct,
}: {
  url: string
  file: string
  effort: Effort
  distinct: boolean
}) {
  const report = await upload({
    ...{ url, file, distinct, seconds, clients: CLIENTS, size: SMALL, multipart: true },
  })
  return report.uploads / report.seconds
}

async function jpegFile(scope: Scope, bytes: number) {
  const path = join(temporaryFolder(scope), 'image.jpg')
  writeFileSync(path, await makeJpeg(bytes))
  return path
}
