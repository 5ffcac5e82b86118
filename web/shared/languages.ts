/** The languages of the pages. The first is used if a browser asks for none of them. */
export const languages = ['en', 'de'] as const
export type Language = (typeof languages)[number]

/** The texts of a page in all languages: `{ en, de }`. */
export type Translations<Texts> = Record<Language, Texts>

const RIGHT_TO_LEFT = /^(ar|dv|fa|he|ku|ps|sd|ug|ur|yi)\b/

/** The direction of a language, for the `dir` of a page. */
export const directionOf = (language: string) => (RIGHT_TO_LEFT.test(language) ? 'rtl' : 'ltr')

/** A text with a form for one and another for several. `count` decides. */
export interface Plural {
  one: string
  other: string
}

/** Replaces `{name}` in a text by the value of that name. The values are not escaped. */
export function fill(text: string | Plural, language: string, values: Record<string, string | number> = {}) {
  const chosen = typeof text === 'string' ? text : text[pluralForm(language, Number(values.count))]
  return chosen.replace(/\{(\w+)\}/g, (_, name: string) => showValue(values[name] ?? '', language))
}

const pluralForm = (language: string, count: number) =>
  new Intl.PluralRules(language).select(count) === 'one' ? 'one' : 'other'

const showValue = (value: string | number, language: string) =>
  typeof value === 'number' ? value.toLocaleString(language) : value

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'] as const

/** A number of bytes for people, in decimal units with at most one decimal: 3.2 MB. It is rounded down, like a limit. */
export function showBytes(bytes: number, language: string): string {
  const level = Math.min(UNITS.length - 1, Math.max(0, Math.floor(Math.log10(Math.max(1, bytes)) / 3)))
  const exact = bytes / 1000 ** level
  const steps = exact < 10 && level > 1 ? 10 : 1
  return new Intl.NumberFormat(language, {
    style: 'unit',
    unit: UNITS[level]!,
    // The short form of 348 bytes is "348 byte".
    unitDisplay: level === 0 ? 'long' : 'short',
  }).format(Math.floor(exact * steps) / steps)
}
