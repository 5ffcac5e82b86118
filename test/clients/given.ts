import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'

/** What each program is given: the URL of the service, the access token and two image files. */
export const [url = '', token = '', ...paths] = process.argv.slice(2)
export const files = paths.map((path) => new File([readFileSync(path)], path.split('/').at(-1)!))

/** An id that no image has. */
export const unknownId = 'x'.repeat(48)
export const idOf = (relativePath: string) => relativePath.slice('/uploads/'.length)
export const sha256 = (bytes: ArrayBuffer) => createHash('sha256').update(new Uint8Array(bytes)).digest('hex')

/** Prints what the program has done, for the test to compare. */
export const report = (done: { hashes: string[]; bytes: string; error: string }) =>
  process.stdout.write(`${JSON.stringify(done)}\n`)
