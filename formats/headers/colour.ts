import icc from 'icc'
import { cleanText } from './text.ts'

/** The name of a colour space by its code points for primaries and transfer (ITU-T H.273); undefined for a rare one. */
export function colourSpaceOf(primaries: number, transfer: number) {
  if (primaries === 9 && transfer === 16) return 'BT.2100 PQ'
  if (primaries === 9 && transfer === 18) return 'BT.2100 HLG'
  if (primaries === 9) return 'BT.2020'
  if (primaries === 12) return 'Display P3'
  return primaries === 1 ? 'sRGB' : undefined
}

/** The name that a colour profile gives itself (ICC.1:2010 §9.2.41); undefined where it can't be read. */
export function profileName(profile: Buffer | undefined) {
  if (!profile || !hasAllTags(profile)) return undefined
  try {
    const { description } = icc.parse(profile)
    return description === undefined ? undefined : cleanText(description)
  } catch {
    return undefined
  }
}

const HEADER_BYTES = 128
const TAG_BYTES = 12

// icc goes through as many tags as a profile says that it has, which can be 4 billion.
const hasAllTags = (profile: Buffer) =>
  profile.length >= HEADER_BYTES + 4 &&
  HEADER_BYTES + 4 + profile.readUInt32BE(HEADER_BYTES) * TAG_BYTES <= profile.length
