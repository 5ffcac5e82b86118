import { fileExtensions } from '../../schemas/formats.ts'

// Most file systems allow 255 bytes. A number may be added.
const MAX_BYTES = 200
/** Names of devices on Windows, with any extension. */
const DEVICE = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\.|$)/i
const UNSAFE = /[\p{Cc}\p{Bidi_Control}<>:"|?*]/gu

/** Makes a function that gives each file of an archive a name: safe on every system, and used only once. */
export function createArchiveNames() {
  const used = new Map<string, number>()
  return (given: string, { id, mediaType }: { id: string; mediaType: string }): string => {
    const name = toSafeName(given, id, fileExtensions[mediaType] ?? 'bin')
    const key = name.toLowerCase()
    const count = (used.get(key) ?? 0) + 1
    used.set(key, count)
    if (count === 1) return name
    const { stem, extension } = split(name)
    const numbered = `${stem} (${count})${extension}`
    // The sender may have used this name too.
    if (used.has(numbered.toLowerCase())) return `${stem} ${id}${extension}`
    used.set(numbered.toLowerCase(), 1)
    return numbered
  }
}

/** The last part of a path, without characters that a system forbids. An empty name becomes the image's id. */
function toSafeName(given: string, id: string, extension: string) {
  const last = given.normalize('NFC').split(/[/\\]/).at(-1) ?? ''
  const name = last
    .replace(UNSAFE, '_')
    .replace(/^[. ]+|[. ]+$/g, '')
    .trim()
  if (name === '') return `${id}.${extension}`
  const named = split(name).extension === '' ? `${name}.${extension}` : name
  return shorten(DEVICE.test(named) ? `_${named}` : named)
}

function shorten(name: string) {
  const { stem, extension } = split(name)
  const characters = [...stem]
  while (Buffer.byteLength(characters.join('') + extension) > MAX_BYTES) characters.pop()
  return characters.join('') + extension
}

function split(name: string) {
  const [, stem = name, extension = ''] = /^(.+)(\.[\p{L}\p{N}]{1,10})$/u.exec(name) ?? []
  return { stem, extension }
}
