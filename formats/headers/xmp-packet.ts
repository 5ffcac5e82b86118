import type { FoundTags } from './tags.ts'
import { decodeXml } from './xml-text.ts'

// A packet in a JPEG has at most 64 KiB. One that an editor filled with its history can have megabytes.
const MAX_PACKET_BYTES = 2 ** 17

// The fields that XMP can fill, each with a property that fills it.
const FIELDS = [
  ['cameraMake', 'Make'],
  ['cameraModel', 'Model'],
  ['lens', 'Lens'],
  ['takenAt', 'DateTimeOriginal'],
  ['latitude', 'GPSLatitude'],
  ['altitude', 'GPSAltitude'],
] as const

/** Whether a packet may have tags that Exif does not have. It is not parsed for that. */
export function mayAddTags(packet: Buffer, fromExif: FoundTags): boolean {
  if (packet.length > MAX_PACKET_BYTES) return false
  const xml = decodePacket(packet)
  return FIELDS.some(([field, property]) => fromExif[field] === undefined && xml.includes(property))
}

/** The text of a packet, from its first element on. The bytes before it only name the encoding. */
export function decodePacket(packet: Buffer) {
  const text = decodeXml(packet)
  return text.slice(Math.max(text.indexOf('<'), 0))
}
