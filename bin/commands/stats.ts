import { openApi } from '../api.ts'
import type { Command } from '../command.ts'
import { bars, bytes, count, plural, print, style, table, time } from '../output.ts'

const DAYS = 30
const DAY_MS = 86_400_000
const LINKS = 10

export const stats: Command = {
  command: 'stats',
  describe: 'Show the statistics and the use of storage',
  async run(options) {
    const api = await openApi()
    const [stats, storage] = await Promise.all([api.call('readStats', {}), api.call('readStorage', {})])
    print(options, { ...stats, storage }, () => {
      const uploads = new Map(
        stats.uploadFrequency30Days.map(({ date, uploads }) => [date.slice(0, 10), uploads]),
      )
      const days = Array.from({ length: DAYS }, (_, n) =>
        new Date(Date.now() - (DAYS - 1 - n) * DAY_MS).toISOString().slice(0, 10),
      )
      const total = [...uploads.values()].reduce((sum, value) => sum + value, 0)
      const first = days.findIndex((day) => uploads.has(day))
      const shown = days.slice(first < 0 ? DAYS - 1 : first)
      const { popularFormat, top10CameraModels } = stats
      return [
        style('bold', `${plural(total, 'upload')} in the last ${DAYS} days`),
        bars(shown.map((day) => [day, uploads.get(day) ?? 0])),
        popularFormat &&
          `${style('bold', 'Most used format')}  ${popularFormat.format} (${count(popularFormat.uploads)})`,
        top10CameraModels.length > 0 &&
          `${style('bold', 'Cameras')}\n${bars(top10CameraModels.map(({ model, uploads }) => [model, uploads]))}`,
        describeStores(storage),
        storage.links.length > 0 && `${style('bold', 'Largest links')}\n${largest(storage.links)}`,
      ]
        .filter((part) => typeof part === 'string')
        .join('\n\n')
    })
    return 0
  },
}

type Storage = Awaited<ReturnType<typeof read>>
const read = async () => (await openApi()).call('readStorage', {})

function describeStores({ measuredAt, stores }: Storage) {
  if (!measuredAt) return `${style('bold', 'Storage')}\nNo sweep has measured it yet: hasty sweep`
  const rows = stores.map((store) => [
    store.region || '-',
    store.tier,
    count(store.objects),
    bytes(store.bytes),
    bytes(store.trashBytes),
    bytes(store.otherBytes),
  ])
  return `${style('bold', `Storage on ${time(measuredAt)}`)}\n${table(['REGION', 'TIER', 'IMAGES', 'SIZE', 'TRASH', 'OTHER'], rows)}`
}

const largest = (links: Storage['links']) =>
  table(
    ['SIZE', 'IMAGES', 'LABEL', 'ID'],
    links
      .slice(0, LINKS)
      .map(({ id, label, uploads, bytes: size }) => [bytes(size), count(uploads), label ?? '', id]),
    ['LABEL', 'ID'],
  )
