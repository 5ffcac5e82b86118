import type { ImageFilter } from '../../schemas/images.ts'
import type { Box, ImageSearch } from '../../stores/data/data-store.ts'
import { InvalidFilter } from '../errors.ts'

/** Reads what a client asks a list of images for. @throws {InvalidFilter} */
export function toImageSearch({ receivedFrom, receivedTo, bbox, ...filter }: ImageFilter): ImageSearch {
  const search = {
    ...filter,
    receivedFrom: toInstant('receivedFrom', receivedFrom),
    receivedTo: toInstant('receivedTo', receivedTo),
    box: bbox === undefined ? undefined : toBox(bbox),
  }
  const { takenFrom, takenTo } = search
  if (isInsideOut(search.receivedFrom, search.receivedTo)) throw insideOut('receivedFrom', 'receivedTo')
  // As text, a time that the other one begins with is the earlier one.
  if (isInsideOut(takenFrom, takenTo)) throw insideOut('takenFrom', 'takenTo')
  return search
}

const isInsideOut = <T extends Date | string>(from: T | undefined, to: T | undefined) =>
  from !== undefined && to !== undefined && from >= to

const insideOut = (from: string, to: string) =>
  new InvalidFilter({ detail: `${from} has to be before ${to}.` })

function toInstant(name: string, text: string | undefined) {
  if (text === undefined) return undefined
  const instant = new Date(text) // not a number for a leap second, which no Date can tell
  if (Number.isNaN(instant.getTime())) throw new InvalidFilter({ detail: `${name} is no instant.` })
  return instant
}

function toBox(text: string): Box {
  const [west = 0, south = 0, east = 0, north = 0] = text.split(',').map(Number)
  const invalid = (detail: string) =>
    new InvalidFilter({ detail: `bbox is west,south,east,north: ${detail}.` })
  if (Math.abs(west) > 180 || Math.abs(east) > 180) throw invalid('west and east are from -180 to 180')
  if (Math.abs(south) > 90 || Math.abs(north) > 90) throw invalid('south and north are from -90 to 90')
  if (south > north) throw invalid(`its south, ${south}, is north of its north, ${north}`)
  return { west, south, east, north }
}
