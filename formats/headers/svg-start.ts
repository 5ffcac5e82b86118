import { decodeXml } from './xml-text.ts'

const BLANKS = /[\s\ufeff]*/y
const SVG = /<(?:[\w.-]+:)?svg(?=[\s/>])/y
const SVG_DOCTYPE = /<!DOCTYPE\s+(?:[\w.-]+:)?svg(?=[\s[>])/iy

/**
 * Whether a text begins like an SVG document: its root element is `svg`. HTML, which can contain SVG, does not. Each
 * character is looked at a fixed number of times, so that it can be done in the API process.
 */
export function beginsLikeSvg(head: Buffer): boolean {
  const text = decodeXml(head)
  for (let at = skip(BLANKS, text, 0); ; at = skip(BLANKS, text, at)) {
    let end: number | undefined
    if (text.startsWith('<?', at)) end = behind(text, '?>', at + 2)
    else if (text.startsWith('<!--', at)) end = behind(text, '-->', at + 4)
    else if (matches(SVG_DOCTYPE, text, at)) end = behindDoctype(text, at + '<!DOCTYPE'.length)
    else return matches(SVG, text, at)
    if (end === undefined) return false
    at = end
  }
}

function skip(pattern: RegExp, text: string, at: number) {
  pattern.lastIndex = at
  pattern.test(text)
  return pattern.lastIndex
}

function matches(pattern: RegExp, text: string, at: number) {
  pattern.lastIndex = at
  return pattern.test(text)
}

function behind(text: string, mark: string, from: number) {
  const at = text.indexOf(mark, from)
  return at < 0 ? undefined : at + mark.length
}

/** The end of a document type, which can have declarations in brackets (XML 1.0 §2.8). */
function behindDoctype(text: string, from: number) {
  let isInBrackets = false
  for (let at = from; at < text.length; at++) {
    const character = text[at]!
    if (character === '"' || character === "'") {
      const end = behind(text, character, at + 1)
      if (end === undefined) return undefined
      at = end - 1
    } else if (text.startsWith('<!--', at)) {
      const end = behind(text, '-->', at + 4)
      if (end === undefined) return undefined
      at = end - 1
    } else if (character === '[') isInBrackets = true
    else if (character === ']') isInBrackets = false
    else if (character === '>' && !isInBrackets) return at + 1
  }
  return undefined
}
