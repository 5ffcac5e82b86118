import type { Stats } from '../schemas/stats.ts'
import type { DataStore } from '../stores/data/data-store.ts'

/** Statistics of uploads. */
export function createStats({ stats }: Pick<DataStore, 'stats'>) {
  return {
    async read(): Promise<Stats> {
      const today = new Date().toISOString().slice(0, 10)
      const [formats, models, days] = await Promise.all([
        stats.top('format', 10),
        stats.top('model', 10),
        stats.days(today, 30),
      ])
      const [popular] = formats
      return {
        ...(popular && { popularFormat: { format: popular.key, uploads: popular.uploads } }),
        topFormats: formats.map(({ key, ...count }) => ({ format: key, ...count })),
        top10CameraModels: models.map(({ key, ...count }) => ({ model: key || 'unknown', ...count })),
        uploadFrequency30Days: days.map(({ key, ...count }) => ({ date: `${key}T00:00:00Z`, ...count })),
      }
    },
  }
}
