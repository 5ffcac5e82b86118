import { createHash } from 'node:crypto'
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'

/** A file to send. */
export interface File {
  path: string
  /** In bytes. */
  size: number
  /** Changes when the file changes. */
  version: string
}

/** Remembers what a link has received, so that a command that is run again continues. */
export interface Journal {
  /** The id of the image, if the link has accepted the file. */
  accepted(file: File): string | undefined
  /** The URL of the file's unfinished upload. */
  unfinished(file: File): string | undefined
  begin(file: File, url: string): Promise<void>
  end(file: File, id?: string): Promise<void>
}

/** Opens the journal of a link in `~/.cache/hasty`. It is not an error if it can't be written: then files are sent again. */
export async function openJournal(link: string): Promise<Journal> {
  const folder = join(homedir(), '.cache', 'hasty')
  // The name does not reveal the link.
  const path = join(folder, `${createHash('sha256').update(link).digest('hex').slice(0, 32)}.json`)
  const entries: Record<string, { id?: string; url?: string }> = await readFile(path, 'utf8').then(
    JSON.parse,
    () => ({}),
  )
  const key = ({ path, version }: File) => `${resolve(path)}\n${version}`
  let writing = Promise.resolve()
  const save = async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFile(`${path}.new`, JSON.stringify(entries), { mode: 0o600 })
    await rename(`${path}.new`, path)
  }
  const write = (file: File, entry: { id?: string; url?: string }) => {
    entries[key(file)] = entry
    writing = writing.then(save).catch(() => {})
    return writing
  }
  return {
    accepted: (file) => entries[key(file)]?.id,
    unfinished: (file) => entries[key(file)]?.url,
    begin: (file, url) => write(file, { url }),
    end: (file, id) => write(file, id === undefined ? {} : { id }),
  }
}
