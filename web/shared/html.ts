/** Text that is valid HTML. Only `html` makes it, so that a text from outside is never taken for HTML. */
export class Html {
  readonly text: string

  constructor(text: string) {
    this.text = text
  }
}

export type HtmlValue = Html | string | number | false | null | undefined | HtmlValue[]

/**
 * A template of HTML: ``html`<p title="${name}">${name}</p>` ``. Each value is escaped, except `Html` of an inner
 * template. An attribute's value must be in double quotes. `false`, `null` and `undefined` are empty.
 */
export function html(strings: TemplateStringsArray, ...values: HtmlValue[]): Html {
  return new Html(strings.map((string, n) => string + (n < values.length ? toText(values[n]) : '')).join(''))
}

function toText(value: HtmlValue): string {
  if (value instanceof Html) return value.text
  if (Array.isArray(value)) return value.map(toText).join('')
  return value === false || value === null || value === undefined ? '' : escapeHtml(String(value))
}

const ENTITIES: Record<string, string> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

const escapeHtml = (text: string) => text.replace(/[&<>"']/g, (character) => ENTITIES[character]!)

/** A data block of a page, which `readData` of `web/shared/data.ts` reads. A browser does not run it. */
export const dataBlock = (data: unknown): Html =>
  new Html(
    `<script type="application/json" id="data">${JSON.stringify(data).replaceAll('<', '\\u003c')}</script>`,
  )
