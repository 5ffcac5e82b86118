import { readdirSync, readlinkSync } from 'node:fs'
import { relative } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Test } from 'tap'
import { residentMiB } from '../helpers/large-upload.ts'
import { sha256 } from '../helpers/lifecycle.ts'
import { listImages, type Server } from '../helpers/server.ts'
import { startSweep, summaryOf } from '../helpers/sweep.ts'

/** The SHA-256 of each image that was answered, by its id. */
export type Answered = Map<string, string>

/** The ids of those answered images that are not served, or with other bytes. */
export async function wrongAmong(url: string, answered: Answered) {
  const wrong: string[] = []
  const images = answered.entries()
  const check = async () => {
    for (const [id, hash] of images) {
      const answer = await fetch(`${url}/images/${id}`)
      const bytes = Buffer.from(await answer.arrayBuffer())
      if (answer.status !== 200 || sha256(bytes) !== hash) wrong.push(`${id}: ${answer.status}`)
    }
  }
  await Promise.all(Array.from({ length: 8 }, check))
  return wrong
}

/**
 * The objects in the folder of an object store. The trash and the file that says which installation the folder belongs to
 * are not counted.
 */
export const filesIn = (folder: string) =>
  readdirSync(folder, { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name !== 'hasty-installation')
    .filter(({ parentPath }) => !relative(folder, parentPath).startsWith('trash'))
    .map(({ name }) => name)

/** After a sweep, the object store has one object for each image. An object without an image is in the trash. */
export async function hasNoOrphans(t: Test, { url }: Server, env: Record<string, string>, objects: string) {
  // The sweep does not change objects that are younger than its grace of a second.
  await sleep(1_100)
  const { code, output } = await startSweep(t, env).ended
  t.equal(code, 0, 'the sweep ends well')
  t.match(summaryOf(output), { missing: 0, failedSteps: 0 })
  const kept = (await listImages(url)).filter(({ removedAt }) => !removedAt).map(({ id }) => id)
  t.strictSame(
    filesIn(objects).sort(),
    kept.sort(),
    'each image has one object, and no other object is there',
  )
}

/** How many files and sockets a process has open, without the tables that the embedded database opens when it first needs them. */
const descriptors = (pid: number) =>
  readdirSync(`/proc/${pid}/fd`)
    .map((fd) => linkOf(`/proc/${pid}/fd/${fd}`))
    .filter((path) => path && !path.includes('/db/')).length

function linkOf(path: string) {
  try {
    return readlinkSync(path)
  } catch {
    return undefined // it is closed by now
  }
}

// A file that is open for a moment, and the first growth of a heap.
const FEW_DESCRIPTORS = 10
const SOME_MIB = 150

/**
 * Measures the resources of a process. The returned function checks that the process has no more of them, and that it is
 * ready without a restart.
 */
export async function watch({ url, process }: Server) {
  const pid = process.pid!
  // So that its pools are full: a connection that is kept for the next request is none that is lost.
  for (let most = 0; descriptors(pid) > most; ) {
    most = descriptors(pid)
    for (let n = 0; n < 3; n++) await Promise.all(Array.from({ length: 40 }, () => fetch(`${url}/readyz`)))
  }
  const before = { descriptors: descriptors(pid), resident: residentMiB(pid) }
  return async function isUnharmed(t: Test) {
    t.equal((await fetch(`${url}/readyz`)).status, 200, 'it is ready')
    const end = Date.now() + 20_000
    while (descriptors(pid) > before.descriptors + FEW_DESCRIPTORS && Date.now() < end) await sleep(100)
    t.ok(
      descriptors(pid) <= before.descriptors + FEW_DESCRIPTORS,
      `${descriptors(pid)} file descriptors, ${before.descriptors} before`,
    )
    const grown = residentMiB(pid) - before.resident
    t.ok(grown < SOME_MIB, `${grown.toFixed(0)} MiB more than before`)
  }
}
