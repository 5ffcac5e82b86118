import type { Stats } from '../schemas/stats.ts'
import type { DataStore } from '../stores/data/data-store.ts'

/** Statistics of uploads. */
export function createStats({ stats }: Pick<DataStore, 'stats'>) {
  return {
    async read(): Promise<Stats> {
      const today = new Date().toISOString().slice(0, 10)
      const [[popular], models, days] = await Promise.all([
        stats.top('format', 1),
        stats.top('model', 10),
        stats.days(today, 30),
      ])
      return {
        ...(popular && { popularFormat: { format: popular.key, uploads: popular.uploads } }),
        top10CameraModels: models.map(({ key, uploads }) => ({ model: key || 'unknown', uploads })),
        uploadFrequency30Days: days.map(({ key, uploads }) => ({ date: `${key}T00:00:00Z`, uploads })),
      }
    },
  }
}
