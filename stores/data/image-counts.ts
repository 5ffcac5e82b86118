import type { ImageStatus } from '../../schemas/images.ts'
import { type CountKey, count } from './counts.ts'
import type { ImageRow } from './interfaces/images.ts'
import type { Sql } from './sql.ts'

// The counts of an image's uploads. An upload counts towards its day and its link at once, and towards a format and a
// camera model once its image has been analysed and is not corrupt. The caller has changed the image's row, and an upload
// of a known image locks that row: therefore no upload is recorded in between.

/** The columns of an image that its uploads are counted by. */
export type CountedImage = Pick<ImageRow, 'id' | 'format' | 'cameraModel' | 'size'>

/** Whether the uploads of an image count towards its format and camera model. */
export const isCounted = (status: ImageStatus) => status !== 'pending' && status !== 'corrupt'

/** The counts to which an upload of an analysed image belongs. */
export const keysOfAnalysed = (image: Pick<ImageRow, 'format' | 'cameraModel'>): CountKey[] => [
  { kind: 'format', key: image.format },
  { kind: 'model', key: image.cameraModel ?? '' },
]

/** Moves the counts of an image's uploads from some keys to others. */
export async function moveCounts(
  sql: Sql,
  image: CountedImage,
  { from, to }: { from: CountKey[]; to: CountKey[] },
) {
  const removed = from.filter((key) => !to.some(isSameKey(key)))
  const added = to.filter((key) => !from.some(isSameKey(key)))
  if (removed.length + added.length === 0) return
  const days = await uploadDays(sql, image)
  const uploads = days.reduce((sum, day) => sum + day.uploads, 0)
  await count(sql, [...lines(removed, -uploads, image), ...lines(added, uploads, image)])
}

/** Subtracts the uploads of a file that is not an image from the counts of their days and from those of `keys`. */
export async function subtractCounts(sql: Sql, image: CountedImage, keys: CountKey[]) {
  const days = await uploadDays(sql, image)
  const uploads = days.reduce((sum, day) => sum + day.uploads, 0)
  await count(sql, [
    ...days.flatMap(({ day, uploads }) => lines([{ kind: 'day', key: day }], -uploads, image)),
    ...lines(keys, -uploads, image),
  ])
}

const isSameKey = (a: CountKey) => (b: CountKey) => a.kind === b.kind && a.key === b.key

const lines = (keys: CountKey[], uploads: number, { size }: CountedImage) =>
  keys.map((key) => ({ ...key, uploads, bytes: uploads * size }))

const uploadDays = (sql: Sql, { id }: CountedImage) => sql<{ day: string; uploads: number }[]>`
  select (received_at at time zone 'UTC')::date::text as day, count(*) as uploads
  from uploads where image_id = ${id} group by 1`
