import { SaxesParser, type SaxesStartTagNS, type SaxesTagNS } from 'saxes'

type Start = SaxesStartTagNS
type Element = SaxesTagNS

/** The handlers of a document's parts. A handler that returns `false` ends the reading. */
export interface XmlHandlers {
  /** The text between `<!DOCTYPE` and `>`. */
  doctype?(text: string): unknown
  /**
   * The name of an element has ended, its attributes have not been read yet.
   *
   * @param position characters up to the `<` of the element
   */
  start?(element: Start, position: number): unknown
  /** @param ancestors the open elements, outermost first, without this one */
  open?(element: Element, ancestors: readonly Element[]): unknown
  /** Text or CDATA. @param ancestors the open elements, outermost first */
  text?(text: string, ancestors: readonly Element[]): unknown
}

export interface XmlLimits {
  elements: number
  /** Open elements at one time. */
  depth: number
}

class LimitReached extends Error {}

// A document that has more errors is no XML.
const MAX_ERRORS = 10_000

/** Ignores errors of a document, and makes no error object for each: that would take microseconds for each byte. */
class TolerantParser extends SaxesParser<{ xmlns: true }> {
  #errors = 0

  override fail(_message: string) {
    if (++this.#errors > MAX_ERRORS) throw new LimitReached()
    return this
  }
}

/**
 * Reads an XML document as far as it goes. Errors of the document are ignored. Entities of a document type are neither
 * expanded nor fetched. The caller limits the length of the text; the time is proportional to it.
 */
export function readXml(text: string, handlers: XmlHandlers, limits: XmlLimits): void {
  const parser = new TolerantParser({ xmlns: true })
  const ancestors: Element[] = []
  let elements = 0
  const goOnUnless = (result: unknown) => {
    if (result === false) throw new LimitReached()
  }
  const onText = (content: string) => goOnUnless(handlers.text?.(content, ancestors))
  parser.on('doctype', (doctype) => goOnUnless(handlers.doctype?.(doctype)))
  parser.on('opentagstart', (element) => {
    if (++elements > limits.elements || ancestors.length >= limits.depth) throw new LimitReached()
    // The parser stands behind the character that ended the name.
    goOnUnless(handlers.start?.(element, parser.position - element.name.length - 2))
  })
  parser.on('opentag', (element) => {
    goOnUnless(handlers.open?.(element, ancestors))
    ancestors.push(element)
  })
  parser.on('text', onText)
  parser.on('cdata', onText)
  parser.on('closetag', () => void ancestors.pop())
  try {
    parser.write(text)
  } catch (error) {
    if (!(error instanceof LimitReached)) throw error
  }
}
