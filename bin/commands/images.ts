import { createWriteStream } from 'node:fs'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { Argv } from 'yargs'
import type { Image } from '../../schemas/images.ts'
import { openApi } from '../api.ts'
import { type Arguments, type Command, idOf } from '../command.ts'
import {
  bytes,
  CommandError,
  confirm,
  count,
  createProgress,
  EXIT,
  pairs,
  plural,
  print,
  table,
  time,
} from '../output.ts'

const STATUSES = ['pending', 'ready', 'failed', 'corrupt', 'rejected', 'removed'] as const

const filterOptions = (yargs: Argv) =>
  yargs
    .option('link', { type: 'string', describe: 'received with this link (URL or id)' })
    .option('status', { choices: STATUSES, describe: 'with this status' })
    .option('format', { type: 'string', describe: 'with this format, such as JPEG' })
    .option('camera', { type: 'string', describe: 'taken with this camera model' })
    .option('name', { type: 'string', describe: "whose sender's file name contains this text" })
    .option('hash', { type: 'string', describe: 'with this SHA-256, or its first digits' })
    .option('since', { type: 'string', describe: 'received at this RFC 3339 time or later' })
    .option('before', { type: 'string', describe: 'received before this RFC 3339 time' })
    .option('fault', {
      choices: ['missing', 'mismatch'] as const,
      describe: 'whose stored object has this fault',
    })

function toFilter({ link, status, format, camera, name, hash, since, before, fault }: Arguments) {
  const filter: Record<string, string | undefined> = {
    link: link && idOf(link),
    status,
    format,
    cameraModel: camera,
    name,
    hash,
    receivedFrom: since,
    receivedTo: before,
    objectFault: fault,
  }
  return Object.fromEntries(Object.entries(filter).filter(([, value]) => value !== undefined))
}

const list: Command = {
  command: 'list',
  describe: 'List images, newest first',
  examples: [
    ['hasty images list --link Vd0G…', 'the images of a link'],
    ['hasty images list --fault mismatch', 'images whose stored object is damaged'],
  ],
  options: (yargs) =>
    filterOptions(yargs).option('limit', {
      type: 'number',
      default: 50,
      describe: 'at most this many images',
    }),
  async run(options) {
    const api = await openApi()
    const images: Image[] = []
    for await (const image of api.all((page) =>
      api.call('listImages', { query: { ...toFilter(options), ...page } }),
    )) {
      if (images.length >= options.limit) break
      images.push(image)
    }
    print(options, images, () =>
      images.length === 0
        ? 'No image matches.'
        : table(
            ['RECEIVED', 'STATUS', 'FORMAT', 'PIXELS', 'SIZE', 'CAMERA', 'ID'],
            images.map((image) => [
              time(image.receivedAt),
              image.objectFault ? `${image.status}, object ${image.objectFault}` : image.status,
              image.format,
              image.width ? `${image.width} × ${image.height}` : '',
              bytes(image.size),
              image.cameraModel ?? '',
              image.id,
            ]),
            ['ID', 'CAMERA'],
          ),
    )
    return 0
  },
}

/** The uploads of an image, if the service lists them. */
type WithUploads = Image & {
  uploads?: { link?: string; linkId?: string; name?: string; receivedAt: string }[]
}

const show: Command = {
  command: 'show <image>',
  describe: 'Show an image: its data, its link, and the file names of its senders',
  async run(options) {
    const api = await openApi()
    const image: WithUploads = await api.call('readImage', { id: idOf(options.image) })
    print(options, image, () => {
      const uploads = image.uploads ?? []
      const place = image.latitude === undefined ? undefined : `${image.latitude}, ${image.longitude}`
      const data = pairs([
        ['Image', image.id],
        ['Status', image.status],
        ['Failure', image.failure],
        ['Object', image.objectFault],
        ['Format', `${image.format} (${image.mediaType})`],
        ['Pixels', image.width ? `${image.width} × ${image.height}` : undefined],
        ['Size', `${bytes(image.size)} (${count(image.size)} bytes)`],
        ['SHA-256', image.hash],
        ['Camera', [image.cameraMake, image.cameraModel].filter(Boolean).join(' ') || undefined],
        ['Taken', image.takenAt],
        ['Place', place],
        ['Received', time(image.receivedAt)],
        ['Removed', image.removedAt && time(image.removedAt)],
        [
          'Stored',
          image.tier === 'cold' ? 'in the archive' : `hot${image.region ? `, region ${image.region}` : ''}`,
        ],
      ])
      if (uploads.length === 0) return data
      const rows = uploads.map(({ receivedAt, name, link, linkId }) => [
        time(receivedAt),
        name ?? '(no name)',
        link ?? linkId ?? '',
      ])
      return `${data}\n\n${table(['SENT', 'NAME', 'LINK'], rows, ['NAME', 'LINK'])}`
    })
    return 0
  },
}

const get: Command = {
  command: 'get <image>',
  describe: 'Get the original bytes of an image',
  examples: [
    ['hasty images get JYkZ… --to picture.jpg', 'into a file'],
    ['hasty images get JYkZ… | exiftool -', 'to another program'],
  ],
  options: (yargs) =>
    yargs.option('to', { type: 'string', describe: 'the file; without it, standard output' }),
  async run(options) {
    if (!options.to && process.stdout.isTTY)
      throw new CommandError(
        'The bytes of an image would be written to the terminal. Add --to FILE.',
        EXIT.usage,
      )
    const api = await openApi()
    const { body } = await api.open('getImageContent', { id: idOf(options.image) })
    const target = options.to ? createWriteStream(options.to, { flags: 'wx' }) : process.stdout
    await pipeline(Readable.fromWeb(body as never), target).catch((error) => {
      if (error.code === 'EEXIST')
        throw new CommandError(`${options.to} exists. Delete it, or choose another name.`)
      throw error
    })
    return 0
  },
}

const remove: Command = {
  command: 'remove [image..]',
  describe: 'Remove images permanently: those with these ids, or all that match a filter',
  examples: [
    ['hasty images remove JYkZ…', 'one image'],
    ['hasty images remove --link Vd0G… --yes', 'all images of a link'],
  ],
  options: (yargs) =>
    filterOptions(yargs).option('yes', { type: 'boolean', default: false, describe: 'do not ask' }),
  async run(options) {
    const api = await openApi()
    const ids = ((options.image ?? []) as string[]).map(idOf)
    const filter = toFilter(options)
    const isFiltered = Object.keys(filter).length > 0
    if (ids.length > 0 === isFiltered)
      throw new CommandError('Give the ids of images, or one filter or more, such as --link.', EXIT.usage)
    const shown = Object.entries(filter).map(([name, value]) => `${name}=${value}`)
    await confirm(
      isFiltered ? `Remove all images with ${shown.join(', ')}?` : `Remove ${plural(ids.length, 'image')}?`,
      options.yes,
    )
    let removed = 0
    for (const id of ids) {
      await api.call('removeImage', { id })
      removed++
    }
    const progress = createProgress()
    for (let isDone = !isFiltered; !isDone; ) {
      const answer = await api.call('removeImages', { query: filter })
      removed += answer.removed
      isDone = answer.isDone
      progress.show(`${plural(removed, 'image')} removed …`)
    }
    progress.end()
    print(options, { removed }, () => `${plural(removed, 'image was', 'images were')} removed.`)
    return 0
  },
}

const analyse: Command = {
  command: 'analyse [image..]',
  describe: 'Analyse images again, after a fault of a decoder was corrected',
  examples: [['hasty images analyse --status failed', 'all images that could not be analysed']],
  options: (yargs) =>
    yargs.option('status', {
      choices: ['failed', 'corrupt', 'ready'] as const,
      describe: 'all images with this status',
    }),
  async run(options) {
    const api = await openApi()
    const ids = ((options.image ?? []) as string[]).map(idOf)
    if (ids.length > 0 === (options.status !== undefined))
      throw new CommandError('Give the ids of images, or --status.', EXIT.usage)
    let queued = 0
    for (const id of ids) queued += (await api.call('analyseImage', { id })).queued
    for (let more = options.status !== undefined; more; ) {
      const answer = await api.call('analyseImages', { query: { status: options.status } })
      queued += answer.queued
      more = answer.queued > 0
    }
    print(options, { queued }, () => `${plural(queued, 'image waits', 'images wait')} for a worker.`)
    return 0
  },
}

export const images = [list, show, get, remove, analyse]
