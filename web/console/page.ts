import { dataBlock, type Html, html } from '../shared/html.ts'
import type { Language, Translations } from '../shared/languages.ts'
import { de } from './de.ts'
import { en } from './en.ts'

const texts: Translations<typeof en> = { en, de }

/** The data that the server gives to the page. */
export interface ConsoleData {
  language: Language
}

/** The page of the console before its script runs. */
export function renderConsole(language: Language): { title: string; body: Html } {
  const data: ConsoleData = { language }
  const body = html`<div id="app"></div>
<noscript><main class="message"><h1>Hasty</h1><p class="soft">${texts[language].noScript}</p></main></noscript>
${dataBlock(data)}`
  return { title: texts[language].title, body }
}
