import type { SaxesTagNS } from 'saxes'
import { dateTime, degrees, type FoundTags, height, location } from './tags.ts'
import { cleanText } from './text.ts'
import { readXml } from './xml.ts'
import { decodePacket, mayAddTags } from './xmp-packet.ts'

const LIMITS = { elements: 10_000, depth: 64 }
const MAX_VALUE_LENGTH = 1024

const RDF = 'http://www.w3.org/1999/02/22-rdf-syntax-ns#'

// The names of the properties that are read, by their namespaces. A file without declarations is read by its prefixes.
const PROPERTIES: Record<string, Set<string>> = {
  tiff: new Set(['Make', 'Model']),
  exif: new Set([
    'DateTimeOriginal',
    'LensModel',
    'GPSLatitude',
    'GPSLatitudeRef',
    'GPSLongitude',
    'GPSLongitudeRef',
    'GPSAltitude',
    'GPSAltitudeRef',
  ]),
  exifEX: new Set(['LensModel']),
  aux: new Set(['Lens', 'LensModel']),
}
const NAMESPACES: Record<string, string> = {
  'http://ns.adobe.com/tiff/1.0/': 'tiff',
  'http://ns.adobe.com/exif/1.0/': 'exif',
  'http://cipa.jp/exif/1.0/': 'exifEX',
  'http://ns.adobe.com/exif/1.0/aux/': 'aux',
}

/**
 * Reads tags from an XMP packet (ISO 16684-1). A packet that cannot add to the tags of Exif is not parsed. Errors in the
 * packet are ignored: tags before and after them are read.
 */
export function readXmp(packet: Buffer, fromExif: FoundTags): FoundTags {
  if (!mayAddTags(packet, fromExif)) return {}
  const properties = readProperties(decodePacket(packet))
  const value = (name: string) => cleanText(properties.get(name) ?? '')
  const { time, zone } = dateTime(value('DateTimeOriginal'))
  const [numerator, denominator = 1] = value('GPSAltitude')?.split('/').map(Number) ?? []
  return {
    cameraMake: value('Make'),
    cameraModel: value('Model'),
    lens: value('LensModel') ?? value('Lens'),
    takenAt: time,
    takenOffset: zone,
    ...location(
      coordinate(value('GPSLatitude'), value('GPSLatitudeRef'), 'NS'),
      coordinate(value('GPSLongitude'), value('GPSLongitudeRef'), 'EW'),
    ),
    altitude: height(numerator && numerator / denominator, Number(value('GPSAltitudeRef') ?? 0)),
  }
}

/**
 * The values of the known properties. A property is an attribute or an element of a resource in rdf:RDF (ISO 16684-1
 * §7.4, §7.5). The value of an array is its first item.
 */
function readProperties(xml: string) {
  const found = new Map<string, string>()
  const add = (name: string, value: string) => {
    const before = found.get(name) ?? ''
    if (before.length < MAX_VALUE_LENGTH) found.set(name, before + value)
  }
  // The element whose text is the value of the property that is open.
  let source: SaxesTagNS | undefined
  readXml(
    xml,
    {
      open({ attributes }, ancestors) {
        if (!isRdf(ancestors.at(-1), 'RDF')) return
        for (const attribute of Object.values(attributes))
          if (isProperty(attribute) && !found.has(attribute.local)) add(attribute.local, attribute.value)
      },
      text(text, ancestors) {
        const property = propertyOf(ancestors)
        const element = ancestors.at(-1)!
        if (!property || text.trim() === '') return
        if (found.has(property.local) && element !== source) return
        source = element
        add(property.local, text)
      },
    },
    LIMITS,
  )
  return found
}

type Name = Pick<SaxesTagNS, 'prefix' | 'local' | 'uri'>

const isRdf = (element: Name | undefined, local: string) =>
  element?.local === local && (element.uri === RDF || element.prefix === 'rdf')

const isProperty = ({ prefix, local, uri }: Name) =>
  PROPERTIES[NAMESPACES[uri] ?? (uri === '' ? prefix : '')]?.has(local) ?? false

/** The known property whose value the text in these elements is; undefined if there is none. */
function propertyOf(ancestors: readonly SaxesTagNS[]) {
  const at = ancestors.findIndex((element) => isRdf(element, 'RDF')) + 2
  const property = at < 2 ? undefined : ancestors[at]
  const isValue = ancestors.slice(at + 1).every(({ prefix, uri }) => uri === RDF || prefix === 'rdf')
  return property && isProperty(property) && isValue ? property : undefined
}

/** XMP writes `43,28.0249N` or `43,28,1N`. Some writers write decimal degrees, with a sign or with the side apart. */
function coordinate(value: string | undefined, reference: string | undefined, sides: string) {
  const [, sign, numbers, ownSide] = /^([+-]?)(\d[\d.,/]*)\s*([NSEW]?)$/i.exec(value ?? '') ?? []
  if (numbers === undefined) return undefined
  const parts = numbers.split(',').map((part) => {
    const [numerator, denominator = 1] = part.split('/').map(Number)
    return numerator! / denominator
  })
  const side = ownSide || reference?.slice(0, 1)
  if (side) return sides.includes(side.toUpperCase()) ? degrees(signed(parts, sign), side) : undefined
  // Without a side, several numbers are ambiguous.
  return parts.length === 1 ? degrees(parts, sides[sign === '-' ? 1 : 0]) : undefined
}

const signed = ([first = Number.NaN, ...rest]: number[], sign = '') => [
  sign === '-' ? -first : first,
  ...rest,
]
