import type { Stats } from '../../schemas/stats.ts'
import type { Sql } from './sql.ts'

export function createStats(sql: Sql) {
  /** The counts of a kind, most uploads first. */
  const top = (kind: 'format' | 'model', limit: number) => sql<{ key: string; uploads: number }[]>`
    select key, sum(uploads)::bigint as uploads from upload_counts
    where kind = ${kind} group by key having sum(uploads) > 0
    order by uploads desc, key limit ${limit}`

  return {
    /** Reads the statistics from the roll-ups. `today` is a day in UTC: 2026-11-01. */
    async read(today: string): Promise<Stats> {
      const [formats, models, days] = await Promise.all([
        top('format', 1),
        top('model', 10),
        sql<{ day: string; uploads: number }[]>`
          select key as day, sum(uploads)::bigint as uploads from upload_counts
          where kind = 'day' and key > (${today}::date - 30)::text and key <= ${today}
          group by key having sum(uploads) > 0 order by key desc`,
      ])
      return {
        ...(formats[0] && { popularFormat: { format: formats[0].key, uploads: formats[0].uploads } }),
        top10CameraModels: models.map(({ key, uploads }) => ({ model: key || 'unknown', uploads })),
        uploadFrequency30Days: days.map(({ day, uploads }) => ({ date: `${day}T00:00:00Z`, uploads })),
      }
    },
  }
}
