import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { backUp, restore as restoreBackup } from '../../services/backup/index.ts'
import { rebuild as rebuildFromObjects } from '../../services/backup/rebuild.ts'
import { openObjectStore } from '../../stores/objects/index.ts'
import type { Command } from '../command.ts'
import { log, withStores } from '../local.ts'
import { bytes, CommandError, clean, count, createProgress, EXIT, pairs, plural, print } from '../output.ts'

/**
 * The URL of a place for backups.
 *
 * @param given a folder, or a URL as in OBJECT_STORE_URL
 * @throws {CommandError} it is neither: a wrong URL must not become the name of a folder
 */
export function targetUrl(given: string): URL {
  if (/^(s3:\/\/[^/?]|file:\/\/\/)/.test(given) && URL.canParse(given)) return new URL(given)
  if (given !== '' && !/^([a-z][a-z0-9+.-]*:\/\/|s3:|file:)/i.test(given))
    return pathToFileURL(resolve(given))
  throw new CommandError(
    `"${clean(given)}" is neither a folder nor the URL of a bucket. For example: /mnt/backup/hasty, or ` +
      's3://backups/hasty?region=eu-central-1',
    EXIT.usage,
  )
}

/** Opens a place for backups. @throws {CommandError} the URL has a mistake */
async function openTarget(given: string) {
  const url = targetUrl(given)
  try {
    return await openObjectStore(url)
  } catch (error) {
    throw new CommandError((error as Error).message, EXIT.usage)
  }
}

const unchecked = { attach: false, check: async () => {} }

export const backup: Command = {
  command: 'backup',
  describe: 'Back up the database and the objects, while the service runs',
  examples: [
    ['hasty backup --to /mnt/backup/hasty', 'into a folder; the next one copies only new objects'],
    ['hasty backup --to "s3://backups/hasty?region=eu-central-1"', 'into a bucket'],
  ],
  options: (yargs) =>
    yargs.option('to', { type: 'string', demandOption: true, describe: 'a folder or an s3:// URL' }),
  async run(options) {
    const target = await openTarget(options.to)
    const progress = createProgress()
    const result = await withStores(
      ({ stores }) =>
        backUp(stores, target, {
          onProgress: (done) => progress.show(`${plural(done, 'image')} …`),
        }),
      { action: 'backup' },
    ).finally(progress.end)
    const faults = result.missing.length + result.damaged.length
    print(options, result, () =>
      pairs([
        ['Backup', result.name],
        ['Database', plural(result.rows, 'row')],
        ['Images', count(result.images)],
        ['Copied', `${plural(result.copied, 'object')} (${bytes(result.bytes)}); the others were there`],
        ['Missing', result.missing.length ? result.missing.join(' ') : undefined],
        ['Damaged', result.damaged.length ? result.damaged.join(' ') : undefined],
      ]),
    )
    return faults > 0 ? EXIT.partly : EXIT.done
  },
}

export const restore: Command = {
  command: 'restore',
  describe: 'Restore a backup into an empty installation, before the service is started',
  examples: [['DATA_DIR=./new hasty restore --from /mnt/backup/hasty', 'the newest backup']],
  options: (yargs) =>
    yargs
      .option('from', { type: 'string', demandOption: true, describe: 'a folder or an s3:// URL' })
      .option('name', { type: 'string', describe: 'the name of a backup; the newest one by default' }),
  async run(options) {
    const target = await openTarget(options.from)
    const progress = createProgress()
    const result = await withStores(
      ({ stores }) =>
        restoreBackup(stores, target, {
          name: options.name,
          onProgress: (done) => progress.show(`${plural(done, 'image')} …`),
        }),
      { action: 'restore', ...unchecked },
    ).finally(progress.end)
    const faults = [...result.missing, ...result.damaged]
    print(options, result, () => {
      const counts = pairs([
        ['Backup', result.name],
        ['Database', plural(result.rows, 'row')],
        ['Images', count(result.images)],
        ['Copied', plural(result.copied, 'object')],
      ])
      return faults.length === 0
        ? `${counts}\n\nStart the service.`
        : `${counts}\n\nThe backup has no intact object of: ${faults.join(' ')}`
    })
    return faults.length > 0 ? EXIT.partly : EXIT.done
  },
}

/** The data that only the database has. */
const lost = (isPublic: boolean) => [
  'the links, with their labels and limits',
  'the file names of the senders, and which link an image was sent with',
  'the statistics, the access tokens and the audit log',
  'whether an image was served without metadata: set PUBLIC_METADATA if in doubt',
  'when an image was received: the time of its object is used',
  isPublic
    ? 'which images were private: all are public now'
    : 'which images were private: all are private now, and need a token or a signed URL',
]

export const rebuild: Command = {
  command: 'rebuild',
  describe: 'Make a new database from the object stores alone, if the database and its backups are lost',
  examples: [
    ['DATA_DIR=./new OBJECT_STORE_URL=file:///old/data/objects hasty rebuild', 'into a new database'],
    ['hasty rebuild --public', 'if no image was private'],
  ],
  options: (yargs) =>
    yargs.option('public', {
      type: 'boolean',
      default: false,
      describe:
        'make the images public; without it all are private, because the stores do not record which were',
    }),
  async run(options) {
    const progress = createProgress()
    const result = await withStores(
      ({ config, stores, signal }) =>
        rebuildFromObjects(stores, {
          signal,
          log,
          shared: !config.hideDuplicates,
          isPublic: options.public,
          onProgress: (done) => progress.show(`${plural(done, 'object')} …`),
        }),
      { action: 'rebuild', query: { public: options.public }, ...unchecked },
    ).finally(progress.end)
    if (result.objects === 0)
      throw new CommandError('The object stores are empty. Check OBJECT_STORE_URL or DATA_DIR.')
    const missing = lost(options.public)
    print(options, { ...result, lost: missing }, () => {
      const counts = pairs([
        ['Objects', count(result.objects)],
        ['Images', count(result.images)],
        ['Skipped', `${plural(result.skipped, 'object')}: not an image, or the content of another one`],
        ['Failed', count(result.failed.length)],
        ['Waiting', `${plural(result.waiting, 'image')} for a worker`],
      ])
      return `${counts}\n\nThese data cannot be recovered:\n${missing.map((line) => `  - ${line}`).join('\n')}`
    })
    return result.failed.length > 0 ? EXIT.partly : EXIT.done
  },
}
