import { cleanText } from './text.ts'

/** The name of a colour space by its code points for primaries and transfer (ITU-T H.273); undefined for a rare one. */
export function colourSpaceOf(primaries: number, transfer: number) {
  if (primaries === 9 && transfer === 16) return 'BT.2100 PQ'
  if (primaries === 9 && transfer === 18) return 'BT.2100 HLG'
  if (primaries === 9) return 'BT.2020'
  if (primaries === 12) return 'Display P3'
  return primaries === 1 ? 'sRGB' : undefined
}

const PROFILE_HEADER_BYTES = 128
const TAG_BYTES = 12
const MAX_TAGS = 100
const MAX_NAME_BYTES = 1_000

/**
 * The name of a colour profile: its profileDescriptionTag (ICC.1:2010 §9.2.41), as text (ICC.1:2001-04 §6.5.17) or as
 * the first of several translations (ICC.1:2010 §10.13). Undefined if it cannot be read. Its time does not depend on
 * the profile.
 */
export function profileName(profile: Buffer | undefined): string | undefined {
  const tag = profile && descriptionOf(profile)
  if (!tag || tag.length < 12) return undefined
  const type = tag.toString('latin1', 0, 4)
  const count = tag.readUInt32BE(8)
  // The text ends with a NUL, which the count includes.
  if (type === 'desc') return cleanText(tag.subarray(12, 12 + Math.min(count, MAX_NAME_BYTES)))
  if (type !== 'mluc' || count === 0 || tag.length < 28) return undefined
  const start = tag.readUInt32BE(24)
  const name = Buffer.from(tag.subarray(start, start + Math.min(tag.readUInt32BE(20), MAX_NAME_BYTES)))
  return cleanText(
    name
      .subarray(0, name.length & ~1)
      .swap16()
      .toString('utf16le'),
  )
}

/** The bytes of a profile from its description on. */
function descriptionOf(profile: Buffer) {
  const end = PROFILE_HEADER_BYTES + 4
  if (profile.length < end || profile.toString('latin1', 36, 40) !== 'acsp') return undefined
  const count = Math.min(profile.readUInt32BE(PROFILE_HEADER_BYTES), MAX_TAGS)
  for (let at = end; at + TAG_BYTES <= Math.min(profile.length, end + count * TAG_BYTES); at += TAG_BYTES)
    if (profile.toString('latin1', at, at + 4) === 'desc')
      return profile.subarray(profile.readUInt32BE(at + 4))
  return undefined
}
