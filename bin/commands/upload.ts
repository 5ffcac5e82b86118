import { createHash } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { opendir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { UploadAnswer } from '../../schemas/uploads.ts'
import { toError } from '../api.ts'
import type { Command } from '../command.ts'
import { type File, type Journal, openJournal } from '../journal.ts'
import { bytes, CommandError, count, createProgress, EXIT, note, plural, print, table } from '../output.ts'
import { type SendOptions, send, type Target } from '../send.ts'

const PARALLEL = 3
const ATTEMPTS = 5
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_S = 60

/** Instructions for the problems that concern all files. */
const MISSING: Record<string, string> = {
  'urn:hasty:problem:password-required': 'The link has a password. Give it with --password.',
  'urn:hasty:problem:wrong-password': 'The password is wrong. Ask the person who gave you the link.',
  'urn:hasty:problem:sender-required': 'The link asks for your name. Give it with --sender.',
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
    ['hasty upload *.jpg --to $LINK --sender Anna --message "From the lake"', 'with your name'],
  ],
  options: (yargs) =>
    yargs.options({
      to: { type: 'string', demandOption: true, describe: 'the URL of the link; it needs no token' },
      password: { type: 'string', describe: 'the password of the link' },
      sender: { type: 'string', describe: 'your name, for links that ask for it' },
      message: { type: 'string', describe: 'a message to the owner of the link' },
    }),
  async run(options) {
    const link = toLink(options.to)
    const { files, unreadable } = await findFiles(options.file)
    const journal = await openJournal(link)
    const { password, sender, message } = options
    const sentFiles = await sendAll({ link, password, sender, message }, files, journal)
    const outcomes = [...sentFiles, ...unreadable]
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

/** The files in the order of their paths. Hidden files in folders are skipped. What can't be read in a folder has failed. */
async function findFiles(given: string[]) {
  const files: File[] = []
  const unreadable: Outcome[] = []
  const addFolder = async (folder: string) => {
    for await (const entry of await opendir(folder)) {
      if (entry.name.startsWith('.') || !(entry.isFile() || entry.isDirectory())) continue
      const path = join(folder, entry.name)
      await add(path).catch((error) => unreadable.push(toUnreadable(path, error)))
    }
  }
  const add = async (path: string) => {
    const found = await stat(path)
    if (found.isDirectory()) return addFolder(path)
    files.push({ path, size: found.size, version: `${found.size}-${found.mtimeMs}` })
  }
  for (const path of given)
    await add(path).catch((error) => {
      throw new CommandError(`${path} can't be read (${error.code}). Check the path.`, EXIT.usage)
    })
  if (files.length + unreadable.length === 0)
    throw new CommandError('There are no files to send.', EXIT.usage)
  return { files: files.sort((a, b) => (a.path < b.path ? -1 : 1)), unreadable }
}

const toUnreadable = (path: string, { code }: NodeJS.ErrnoException): Outcome => ({
  path,
  outcome: 'failed',
  reason: `it can't be read (${code})`,
})

async function sendAll(target: Target, files: File[], journal: Journal) {
  const total = files.reduce((sum, { size }) => sum + size, 0)
  const outcomes: Outcome[] = []
  const progress = createProgress()
  const sent = files.map(() => 0)
  let [next, done] = [0, 0]
  const show = () => {
    const sentBytes = sent.reduce((sum, each) => sum + each, 0)
    progress.show(`${count(done)} of ${plural(files.length, 'file')}, ${bytes(sentBytes)} of ${bytes(total)}`)
  }
  let fatal: CommandError | undefined
  const worker = async () => {
    while (next < files.length && !fatal) {
      const n = next++
      const file = files[n]!
      const known = journal.accepted(file)
      try {
        outcomes[n] = known
          ? { path: file.path, outcome: 'sent before', id: known }
          : await sendOne(file, {
              target,
              journal,
              onProgress: (bytes) => {
                sent[n] = bytes
                show()
              },
            })
      } catch (error) {
        if (!(error instanceof CommandError)) throw error
        // The link is closed or unreachable: the other files would fail too.
        fatal = error
        outcomes[n] = { path: file.path, outcome: 'failed', reason: error.message }
      }
      sent[n] = file.size
      done++
      show()
    }
  }
  await Promise.all(Array.from({ length: PARALLEL }, worker))
  progress.end()
  if (fatal && !outcomes.some((outcome) => 'id' in outcome)) throw fatal
  if (fatal) note(`${fatal.message} Run the command again to continue.`)
  return files.map(({ path }, n): Outcome => outcomes[n] ?? { path, outcome: 'failed', reason: 'not sent' })
}

/** Sends one file, and tries again after lost connections, 429 and 503. @throws {CommandError} the link accepts no file */
async function sendOne(file: File, options: Omit<SendOptions, 'digest'>): Promise<Outcome> {
  const { path } = file
  if (file.size === 0) return { path, outcome: 'rejected', reason: 'empty' }
  let digest: string
  try {
    digest = await digestOf(path)
  } catch (error) {
    return toUnreadable(path, error as NodeJS.ErrnoException)
  }
  for (let attempt = 1; ; attempt++) {
    let response: Response
    try {
      response = await send(file, { ...options, digest })
    } catch (error) {
      if (attempt >= ATTEMPTS || !(error instanceof CommandError)) throw error
      await sleep(FIRST_PAUSE_MS * 2 ** attempt)
      continue
    }
    const wait = Number(response.headers.get('retry-after') ?? 0)
    if (response.ok || wait === 0 || attempt >= ATTEMPTS) return toOutcome(file, response, options.journal)
    await response.body?.cancel()
    await sleep(Math.min(wait, LONGEST_PAUSE_S) * 1000)
  }
}

/** @throws {CommandError} the link accepts no file, or asks for something that was not given */
async function toOutcome(file: File, response: Response, journal: Journal): Promise<Outcome> {
  const { path } = file
  if (response.ok) {
    const { processed } = (await response.json()) as UploadAnswer
    const { id, duplicate } = processed[0]!
    await journal.end(file, id)
    return { path, outcome: duplicate ? 'duplicate' : 'accepted', id }
  }
  const problem = (await response
    .clone()
    .json()
    .catch(() => ({}))) as { type?: string; rejected?: { reason: string }[] }
  const missing = problem.type && MISSING[problem.type]
  if (missing) throw new CommandError(missing, EXIT.usage)
  if ([401, 404, 410, 429, 503].includes(response.status)) throw await toError(response)
  await journal.end(file)
  const reason = problem.rejected?.[0]?.reason.replaceAll('_', ' ') ?? (await toError(response)).message
  return { path, outcome: 'rejected', reason }
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
  const total = `${plural(outcomes.length, 'file')} (${bytes(files.reduce((sum, { size }) => sum + size, 0))}): ${parts.join(', ')}.`
  if (bad.length === 0) return total
  const rows = bad.map(({ path, outcome, reason }) => [path, outcome, reason])
  return `${total}\n\n${table(['FILE', 'RESULT', 'REASON'], rows, ['REASON', 'FILE'])}`
}
