import type { HeaderReader } from './header.ts'
import { readXml } from './xml.ts'
import { decodeXml } from './xml-text.ts'

// Only the root element is read.
const LIMITS = { elements: 1, depth: 1 }

const HEAD_BYTES = 65_536

/** SVG (SVG 2 §8): the size in CSS pixels that a browser gives the picture. */
export const readSvg: HeaderReader = async ({ bytes }) => {
  const root = findRoot(decodeXml(await bytes.read(0, HEAD_BYTES)))
  return root && sizeOf(root.attributes)
}

/**
 * The root element of an SVG: its attributes, and the number of characters before it. Undefined if the text is no SVG,
 * or ends within the element.
 */
export function findRoot(text: string) {
  let found: { attributes: Record<string, string>; position: number } | undefined
  let position = 0
  readXml(
    text,
    {
      start(_element, at) {
        position = at
      },
      open({ local, attributes }) {
        const values = Object.values(attributes).map(({ name, value }) => [name, value])
        if (local === 'svg') found = { attributes: Object.fromEntries(values), position }
        return false
      },
    },
    LIMITS,
  )
  return found
}

// CSS Images 3 §5.2: the size of a picture that has neither a size nor a ratio.
const DEFAULT = { width: 300, height: 150 }

/**
 * The size of a picture, in CSS pixels, by its root element. A viewBox alone is the size, unless it is smaller than a
 * pixel: then it is the ratio of the largest picture that fits into the default size, as in browsers.
 */
export function sizeOf(attributes: Record<string, string>): { width: number; height: number } {
  const width = pixels(attributes.width)
  const height = pixels(attributes.height)
  const box = viewBox(attributes.viewBox)
  if (width !== undefined && height !== undefined) return { width, height }
  if (!box) return { width: width ?? DEFAULT.width, height: height ?? DEFAULT.height }
  if (width !== undefined) return { width, height: (width * box.height) / box.width }
  if (height !== undefined) return { width: (height * box.width) / box.height, height }
  if (box.width >= 1 && box.height >= 1) return box
  const scale = Math.min(DEFAULT.width / box.width, DEFAULT.height / box.height)
  return { width: box.width * scale, height: box.height * scale }
}

// CSS Values 4 §6: pixels of each unit, with the browsers' default font of 16 pixels.
const UNITS: Record<string, number> = {
  '': 1,
  px: 1,
  in: 96,
  cm: 96 / 2.54,
  mm: 96 / 25.4,
  q: 96 / 101.6,
  pt: 96 / 72,
  pc: 16,
  em: 16,
  rem: 16,
  ex: 8,
}

/** A length in pixels; undefined for a percentage and for any other length that depends on the page around the picture. */
function pixels(length: string | undefined) {
  const [, number, unit = ''] =
    /^\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)([a-z]*)\s*$/i.exec(length ?? '') ?? []
  const factor = UNITS[unit.toLowerCase()]
  return number === undefined || factor === undefined ? undefined : Math.max(0, Number(number) * factor)
}

function viewBox(value: string | undefined) {
  const [, , width = 0, height = 0] = (value ?? '')
    .trim()
    .split(/[\s,]+/)
    .map(Number)
  return width > 0 && height > 0 && width < Number.POSITIVE_INFINITY && height < Number.POSITIVE_INFINITY
    ? { width, height }
    : undefined
}
