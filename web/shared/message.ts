import { de } from './de.ts'
import { en } from './en.ts'
import { type Html, html } from './html.ts'
import { fill, type Language, type Translations } from './languages.ts'

const texts: Translations<typeof en> = { en, de }

/** A page with one message instead of its usual content. */
export interface Message {
  /** The name of the error (`services/errors.ts`), or `Home`. */
  kind: string
  /** Only for a link that is not open yet: the time from which it is open. */
  opensOn?: Date | undefined
}

/** The title and the body of a page with one message. */
export function renderMessage({ kind, opensOn }: Message, language: Language): { title: string; body: Html } {
  const all = texts[language]
  const { title, detail } = kind in all ? all[kind as keyof typeof all] : all.Other
  const date = opensOn && showDate(opensOn, language)
  const body = html`<main class="message">
${kind === 'Home' ? arrow : dot}
<h1>${title}</h1>
${date && html`<p><strong>${fill(all.LinkNotOpen.opensOn, language, { date })}</strong></p>`}
<p class="soft">${detail}</p>
</main>`
  return { title, body }
}

// The server does not know the time zone of the reader, so the time has its own.
const showDate = (date: Date, language: string) =>
  `${date.toLocaleString(language, { dateStyle: 'full', timeStyle: 'short', timeZone: 'UTC' })} UTC`

const arrow = html`<svg class="icon sign" viewBox="0 0 24 24" aria-hidden="true"><path d="M12 19V6m-5 5 5-5 5 5"/></svg>`
const dot = html`<svg class="icon sign" viewBox="0 0 24 24" aria-hidden="true"><circle cx="12" cy="12" r="9"/><path d="M12 8v5m0 3v.01"/></svg>`
