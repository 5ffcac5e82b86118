import { renderUnicodeCompact } from 'uqr'
import type { Link } from '../../schemas/links.ts'
import { openApi } from '../api.ts'
import { type Command, idOf } from '../command.ts'
import { bytes, clean, count, isForPeople, pairs, plural, print, style, table, time } from '../output.ts'

const create: Command = {
  command: 'create',
  describe: 'Create a link and print its URL and a QR code',
  examples: [
    ['hasty link create --in PT1H', 'a link for one hour'],
    ['hasty link create --in P3D --max 200 --label "Wedding"', 'at most 200 images within three days'],
  ],
  options: (yargs) =>
    yargs
      .option('in', { type: 'string', describe: 'ISO 8601 duration until it expires', default: 'PT1H' })
      .option('until', { type: 'string', describe: 'RFC 3339 time at which it expires, instead of --in' })
      .option('max', { type: 'number', describe: 'the number of images that it accepts' })
      .option('max-bytes', { type: 'number', describe: 'the number of bytes that it accepts' })
      .option('label', { type: 'string', describe: 'the title of the link; senders see it too' })
      .option('region', { type: 'string', describe: 'the region that stores its images' })
      .option('qr', { type: 'boolean', default: true, describe: 'draw a QR code (--no-qr: none)' }),
  async run(options) {
    const api = await openApi()
    const created = await api.call('createLink', {
      body: {
        ...(options.until ? { timeExact: options.until } : { sinceNow: options.in }),
        ...(options.max && { maxImages: options.max }),
        ...(options['max-bytes'] && { maxBytes: options['max-bytes'] }),
        ...(options.label && { label: options.label }),
        ...(options.region && { region: options.region }),
      },
    })
    const url = created.url ?? api.url + created.relativePath
    print(options, { url, id: idOf(url), expiresOn: created.expiresOn }, () => {
      const qr = options.qr ? `\n\n${renderUnicodeCompact(url, { border: 2 })}` : ''
      return `${style('bold', url)}\n\nIt accepts images until ${time(created.expiresOn)}.${qr}`
    })
    return 0
  },
}

const list: Command = {
  command: 'list',
  describe: 'List the links, newest first',
  examples: [['hasty link list --json | jq -r ".[].id"', 'the ids of all links']],
  async run(options) {
    const api = await openApi()
    const links = await Array.fromAsync(api.all((query) => api.call('listLinks', { query })))
    print(options, links, () =>
      links.length === 0
        ? 'There are no links. Create one: hasty link create --in PT1H'
        : table(
            ['ID', 'STATUS', 'EXPIRES', 'IMAGES', 'SIZE', 'LABEL'],
            links.map((link) => [
              link.id,
              link.status,
              time(link.expiresOn),
              link.maxImages ? `${count(link.uploads)} of ${count(link.maxImages)}` : count(link.uploads),
              bytes(link.bytes),
              link.label ?? '',
            ]),
            ['LABEL', 'ID'],
          ),
    )
    return 0
  },
}

const describeLink = (link: Link) =>
  pairs([
    ['Link', link.id],
    ['Label', link.label],
    ['Status', link.status],
    ['Created', time(link.createdAt)],
    ['Expires', time(link.expiresOn)],
    ['Region', link.region],
    ['Images', `${count(link.uploads)}${link.maxImages ? ` of ${count(link.maxImages)}` : ''}`],
    ['Size', `${bytes(link.bytes)}${link.maxBytes ? ` of ${bytes(link.maxBytes)}` : ''}`],
  ])

const show: Command = {
  command: 'show <link>',
  describe: 'Show a link and the files that were sent with it',
  examples: [['hasty link show https://images.example/uploads/Vd0G…', 'by its URL or its id']],
  async run(options) {
    const api = await openApi()
    const id = idOf(options.link)
    let link: Link | undefined
    const files = await Array.fromAsync(
      api.all(async (query) => {
        const { received, ...shown } = await api.call('readLink', { id, query })
        link = shown
        return received
      }),
    )
    print(options, { ...link, received: files }, () => {
      const rows = files.map((file) => [
        time(file.receivedAt),
        file.name ?? '(no name)',
        bytes(file.size),
        file.duplicate ? `${file.status}, duplicate` : file.status,
        file.imageId,
      ])
      const list =
        rows.length === 0
          ? 'No images were sent with it.'
          : table(['SENT', 'NAME', 'SIZE', 'STATUS', 'IMAGE'], rows, ['NAME', 'IMAGE'])
      return `${describeLink(link!)}\n\n${list}`
    })
    return 0
  },
}

const extend: Command = {
  command: 'extend <link>',
  describe: 'Change when a link expires',
  examples: [['hasty link extend Vd0G… --in P1D', 'it expires in a day from now']],
  options: (yargs) =>
    yargs
      .option('in', { type: 'string', describe: 'ISO 8601 duration from now' })
      .option('until', { type: 'string', describe: 'RFC 3339 time, instead of --in' })
      .check(({ in: duration, until }) => {
        if (!duration === !until) throw new Error('Give one of --in and --until.')
        return true
      }),
  async run(options) {
    const api = await openApi()
    const body = options.until ? { timeExact: options.until } : { sinceNow: options.in }
    const link = await api.call('changeLink', { id: idOf(options.link), body })
    print(options, link, () => `The link expires on ${time(link.expiresOn)}.`)
    return 0
  },
}

const revoke: Command = {
  command: 'revoke <link..>',
  describe: 'Revoke links: they accept no more images',
  examples: [['hasty link revoke Vd0G…', 'its images are kept']],
  async run(options) {
    const api = await openApi()
    const revoked: string[] = (options.link as string[]).map(idOf)
    for (const id of revoked) await api.call('revokeLink', { id })
    print(
      options,
      { revoked },
      () => `${plural(revoked.length, 'link was', 'links were')} revoked. The images are kept.`,
    )
    if (isForPeople(options))
      process.stdout.write(`Remove the images: ${clean(`hasty images remove --link ${revoked[0]}`)}\n`)
    return 0
  },
}

export const link = [create, list, show, extend, revoke]
