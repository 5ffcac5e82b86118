import { createHash } from 'node:crypto'
import { createReadStream, openAsBlob } from 'node:fs'
import { mkdir, opendir, readFile, rename, stat, writeFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { basename, join, resolve } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Processed, UploadAnswer } from '../../schemas/uploads.ts'
import { fetchOrFail, toError } from '../api.ts'
import type { Command } from '../command.ts'
import { bytes, CommandError, count, createProgress, EXIT, note, plural, print, table } from '../output.ts'

const PARALLEL = 3
const ATTEMPTS = 5
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_S = 60

interface File {
  path: string
  size: number
  /** Changes when the file changes. */
  version: string
}

type Outcome =
  | { path: string; outcome: 'accepted' | 'duplicate' | 'sent before'; id: string }
  | { path: string; outcome: 'rejected' | 'failed'; reason: string }

export const upload: Command = {
  command: 'upload <file..>',
  describe: 'Send files, or all files in folders, to a link',
  examples: [
    ['hasty upload *.jpg --to https://images.example/uploads/Vd0G…', 'some files'],
    ['hasty upload ~/Pictures/wedding --to $LINK', 'a folder; run it again to continue'],
  ],
  options: (yargs) =>
    yargs.option('to', {
      type: 'string',
      demandOption: true,
      describe: 'the URL of the link; it needs no token',
    }),
  async run(options) {
    const link = toLink(options.to)
    const files = await findFiles(options.file)
    const journal = await openJournal(link)
    const outcomes = await sendAll(link, files, journal)
    const of = (...names: Outcome['outcome'][]) => outcomes.filter(({ outcome }) => names.includes(outcome))
    const [sent, bad] = [of('accepted', 'duplicate', 'sent before'), of('rejected', 'failed')]
    print(options, outcomes, () => summarise(outcomes, files))
    if (bad.length === 0) return EXIT.done
    return sent.length === 0 ? EXIT.failed : EXIT.partly
  },
}

function toLink(given: string) {
  if (/^https?:\/\/.+\/uploads\/[0-9A-Za-z]{48}\/?$/.test(given)) return given.replace(/\/$/, '')
  throw new CommandError('--to must be the URL of a link: https://images.example/uploads/Vd0G…', EXIT.usage)
}

/** The files in the order of their paths. Hidden files in folders are skipped. */
async function findFiles(given: string[]): Promise<File[]> {
  const paths: string[] = []
  const add = async (path: string) => {
    const found = await stat(path).catch((error) => {
      throw new CommandError(`${path} can't be read (${error.code}). Check the path.`, EXIT.usage)
    })
    if (!found.isDirectory()) return void paths.push(path)
    for await (const entry of await opendir(path)) {
      if (entry.name.startsWith('.') || !(entry.isFile() || entry.isDirectory())) continue
      await add(join(path, entry.name))
    }
  }
  for (const path of given) await add(path)
  if (paths.length === 0) throw new CommandError('There are no files to send.', EXIT.usage)
  return Promise.all(
    paths.sort().map(async (path) => {
      const { size, mtimeMs } = await stat(path)
      return { path, size, version: `${size}-${mtimeMs}` }
    }),
  )
}

/** Remembers which files a link has accepted, so that a command that is run again continues. */
async function openJournal(link: string) {
  const folder = join(homedir(), '.cache', 'hasty')
  // The name does not reveal the link.
  const path = join(folder, `${createHash('sha256').update(link).digest('hex').slice(0, 32)}.json`)
  const known: Record<string, string> = await readFile(path, 'utf8').then(JSON.parse, () => ({}))
  const key = ({ path, version }: File) => `${resolve(path)}\n${version}`
  let writing = Promise.resolve()
  const save = async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await writeFile(`${path}.new`, JSON.stringify(known), { mode: 0o600 })
    await rename(`${path}.new`, path)
  }
  return {
    find: (file: File) => known[key(file)],
    /** It is not an error if it can't be written: then the file is sent again next time. */
    add(file: File, id: string) {
      known[key(file)] = id
      writing = writing.then(save).catch(() => {})
      return writing
    },
  }
}

type Journal = Awaited<ReturnType<typeof openJournal>>

async function sendAll(link: string, files: File[], journal: Journal) {
  const total = files.reduce((sum, { size }) => sum + size, 0)
  const outcomes: Outcome[] = []
  const progress = createProgress()
  let [next, done, doneBytes] = [0, 0, 0]
  let fatal: CommandError | undefined
  const worker = async () => {
    while (next < files.length && !fatal) {
      const n = next++
      const file = files[n]!
      const known = journal.find(file)
      try {
        outcomes[n] = known
          ? { path: file.path, outcome: 'sent before', id: known }
          : await sendOne(link, file, journal)
      } catch (error) {
        if (!(error instanceof CommandError)) throw error
        // The link is closed or unreachable: the other files would fail too.
        fatal = error
        outcomes[n] = { path: file.path, outcome: 'failed', reason: error.message }
      }
      doneBytes += file.size
      progress.show(
        `${count(++done)} of ${plural(files.length, 'file')}, ${bytes(doneBytes)} of ${bytes(total)}`,
      )
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
  progress.end()
  if (fatal && !outcomes.some((outcome) => 'id' in outcome)) throw fatal
  if (fatal) note(`${fatal.message} Run the command again to continue.`)
  return files.map(({ path }, n): Outcome => outcomes[n] ?? { path, outcome: 'failed', reason: 'not sent' })
}

/** Sends one file. @throws {CommandError} the link does not accept any file */
async function sendOne(link: string, file: File, journal: Journal): Promise<Outcome> {
  const { path } = file
  const refused = (outcome: 'rejected' | 'failed', reason: string) => ({ path, outcome, reason })
  if (file.size === 0) return refused('rejected', 'empty')
  const digest = await digestOf(path)
  const target = `${link}?name=${encodeURIComponent(basename(path))}`
  for (let attempt = 1; ; attempt++) {
    const body = await openAsBlob(path)
    const headers = { 'Content-Type': 'application/octet-stream', 'Repr-Digest': `sha-256=:${digest}:` }
    let response: Response
    try {
      response = await fetchOrFail(target, { method: 'POST', headers, body })
    } catch (error) {
      if (attempt >= ATTEMPTS) throw error
      await sleep(FIRST_PAUSE_MS * 2 ** attempt)
      continue
    }
    if (response.ok) {
      const { processed } = (await response.json()) as UploadAnswer
      const { id, duplicate } = processed[0] as Processed
      await journal.add(file, id)
      return { path, outcome: duplicate ? 'duplicate' : 'accepted', id }
    }
    const wait = Number(response.headers.get('retry-after') ?? 0)
    if (wait > 0 && attempt < ATTEMPTS) {
      await response.body?.cancel()
      await sleep(Math.min(wait, LONGEST_PAUSE_S) * 1000)
      continue
    }
    if ([404, 410, 429, 503].includes(response.status)) throw await toError(response)
    return refused('rejected', await reasonOf(response))
  }
}

async function reasonOf(response: Response) {
  const problem = (await response
    .clone()
    .json()
    .catch(() => ({}))) as { rejected?: { reason: string }[] }
  return problem.rejected?.[0]?.reason.replaceAll('_', ' ') ?? (await toError(response)).message
}

async function digestOf(path: string) {
  const sha256 = createHash('sha256')
  await pipeline(createReadStream(path), sha256)
  return sha256.digest('base64')
}

function summarise(outcomes: Outcome[], files: File[]) {
  const number = (name: Outcome['outcome']) => outcomes.filter(({ outcome }) => outcome === name).length
  const parts = (['accepted', 'duplicate', 'sent before', 'rejected', 'failed'] as const)
    .filter((name) => number(name) > 0)
    .map((name) => `${count(number(name))} ${name}`)
  const bad = outcomes.filter((outcome) => 'reason' in outcome)
  const total = `${plural(files.length, 'file')} (${bytes(files.reduce((sum, { size }) => sum + size, 0))}): ${parts.join(', ')}.`
  if (bad.length === 0) return total
  const rows = bad.map(({ path, outcome, reason }) => [path, outcome, reason])
  return `${total}\n\n${table(['FILE', 'RESULT', 'REASON'], rows, ['REASON', 'FILE'])}`
}
