import { readdirSync } from 'node:fs'

/** The names of all migrations, as `migrate` gives them: `1 images`. */
export const migrations = readdirSync(new URL('../../migrations/', import.meta.url))
  .sort()
  .map((file) => file.replace(/^0*(\d+)\.do\.(.+)\.sql$/, '$1 $2'))
