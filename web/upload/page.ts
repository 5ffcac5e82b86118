import type { UploadLink } from '../../schemas/links.ts'
import { type Html, html } from '../shared/html.ts'
import type { Language } from '../shared/languages.ts'

/** The upload page of an open link. */
export function renderUpload({ link }: { link: UploadLink; id: string; language: Language }): {
  title: string
  body: Html
} {
  return { title: 'Hasty', body: html`<main class="column"><h1>${link.label}</h1></main>` }
}

/** The form that asks for the password of a link. */
export function renderUnlock({ action }: { action: string; fault: string | undefined; language: Language }): {
  title: string
  body: Html
} {
  return {
    title: 'Hasty',
    body: html`<main class="message"><form method="post" action="${action}"><input name="password" type="password"></form></main>`,
  }
}
