import type { ImageFilter } from '../../schemas/images.ts'
import type { Box, ImageSearch } from '../../stores/data/interfaces/images.ts'
import { InvalidFilter } from '../errors.ts'
import { toInstant } from '../instant.ts'

/** Converts the filters of a list of images. @throws {InvalidFilter} */
export function toImageSearch({ receivedFrom, receivedTo, bbox, ids, ...filter }: ImageFilter): ImageSearch {
  const search = {
    ...filter,
    ids: ids?.split(','),
    receivedFrom: readInstant('receivedFrom', receivedFrom),
    receivedTo: readInstant('receivedTo', receivedTo),
    box: bbox === undefined ? undefined : toBox(bbox),
  }
  const { takenFrom, takenTo } = search
  if (isReversed(search.receivedFrom, search.receivedTo)) throw reversed('receivedFrom', 'receivedTo')
  // As text, a date is earlier than a time of the same day.
  if (isReversed(takenFrom, takenTo)) throw reversed('takenFrom', 'takenTo')
  return search
}

const isReversed = <T extends Date | string>(from: T | undefined, to: T | undefined) =>
  from !== undefined && to !== undefined && from >= to

const reversed = (from: string, to: string) => new InvalidFilter({ detail: `${from} must be before ${to}.` })

function readInstant(name: string, text: string | undefined) {
  const instant = text === undefined ? undefined : toInstant(text)
  if (text !== undefined && !instant)
    throw new InvalidFilter({
      detail: `${name} must be an RFC 3339 date and time. For example: 2026-11-01T00:00:00Z.`,
    })
  return instant
}

function toBox(text: string): Box {
  const [west = 0, south = 0, east = 0, north = 0] = text.split(',').map(Number)
  const invalid = (detail: string) =>
    new InvalidFilter({ detail: `bbox must be west,south,east,north in degrees: ${detail}.` })
  if (Math.abs(west) > 180 || Math.abs(east) > 180) throw invalid('west and east must be from -180 to 180')
  if (Math.abs(south) > 90 || Math.abs(north) > 90) throw invalid('south and north must be from -90 to 90')
  if (south > north) throw invalid(`south (${south}) must not be greater than north (${north})`)
  return { west, south, east, north }
}
