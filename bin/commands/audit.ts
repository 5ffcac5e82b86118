import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { AuditEntry } from '../../schemas/audit.ts'
import { openApi } from '../api.ts'
import type { Command } from '../command.ts'
import { print, table, time } from '../output.ts'

export const audit: Command = {
  command: 'audit',
  describe: 'Show what admins did, newest first',
  examples: [
    ['hasty audit --actor front-desk', 'the calls of one token'],
    ['hasty audit --export csv > audit.csv', 'all entries, for a spreadsheet'],
  ],
  options: (yargs) =>
    yargs
      .option('actor', { type: 'string', describe: 'the name of a token' })
      .option('action', { type: 'string', describe: 'such as removeImage' })
      .option('since', { type: 'string', describe: 'at this RFC 3339 time or later' })
      .option('before', { type: 'string', describe: 'before this RFC 3339 time' })
      .option('limit', { type: 'number', default: 50, describe: 'at most this many entries' })
      .option('export', {
        choices: ['ndjson', 'csv'] as const,
        describe: 'write all entries to standard output',
      }),
  async run(options) {
    const api = await openApi()
    const filter = {
      ...(options.actor && { actor: options.actor }),
      ...(options.action && { action: options.action }),
      ...(options.since && { from: options.since }),
      ...(options.before && { to: options.before }),
    }
    if (options.export) {
      const { body } = await api.open('exportAudit', { query: { ...filter, format: options.export } })
      await pipeline(Readable.fromWeb(body as never), process.stdout)
      return 0
    }
    const entries: AuditEntry[] = []
    for await (const entry of api.all((page) => api.call('listAudit', { query: { ...filter, ...page } }))) {
      if (entries.length >= options.limit) break
      entries.push(entry)
    }
    print(options, entries, () =>
      entries.length === 0
        ? 'There are no entries.'
        : table(
            ['WHEN', 'WHO', 'FROM', 'ACTION', 'STATUS', 'TARGET'],
            entries.map((entry) => [
              time(entry.at),
              entry.actor,
              entry.address,
              entry.action,
              String(entry.status),
              entry.target ?? entry.detail ?? '',
            ]),
            ['WHO', 'TARGET'],
          ),
    )
    return 0
  },
}
