import { formatNames } from '../../schemas/formats.ts'
import type { UploadLink } from '../../schemas/links.ts'
import type { Processed, Rejected } from '../../schemas/uploads.ts'
import { dataBlock, type Html, html } from '../shared/html.ts'
import { fill, type Language, showBytes, type Translations } from '../shared/languages.ts'
import { de } from './de.ts'
import { en, type Texts } from './en.ts'

const translations: Translations<Texts> = { en, de }

// Longer lists of formats are cut.
const SHOWN_FORMATS = ['JPEG', 'HEIC', 'PNG', 'WebP']

/** The data that the server gives to the script of the page. */
export interface PageData {
  language: Language
  texts: Texts
  link: UploadLink
  id: string
  /** The value of `accept` of the file inputs. */
  accept: string
}

interface Rendered {
  title: string
  body: Html
}

/** The upload page of an open link. Without JavaScript it is a form. */
export function renderUpload({
  link,
  id,
  language,
}: {
  link: UploadLink
  id: string
  language: Language
}): Rendered {
  const texts = translations[language]
  const accept = acceptOf(link)
  const data: PageData = { language, texts, link, id, accept }
  const body = html`<main class="column upload">
<header class="intro">
<h1 dir="auto">${link.label ?? texts.noLabel}</h1>
${link.description && html`<p class="why" dir="auto">${link.description}</p>`}
${renderLimits(link, texts, language)}
</header>
<form class="card" id="form" method="post" action="${id}" enctype="multipart/form-data">
${link.askSender !== 'no' && renderSender(link, texts)}
<div id="picker">
<div class="field">
<label for="image">${texts.pictures}</label>
<input id="image" class="files" name="image" type="file" multiple required accept="${accept}" aria-describedby="hint">
<p class="small soft" id="hint">${fill(texts.plainHint, language, { count: link.maxFiles })}</p>
</div>
<button class="button large wide">${texts.send}</button>
</div>
</form>
<div id="results"></div>
</main>
${dataBlock(data)}`
  return { title: link.label ?? texts.title, body }
}

/**
 * The value of `accept` of a file input. With image/heic in it, iOS gives the original and not a JPEG copy. A list of many
 * types would hide the gallery of some phones.
 */
const acceptOf = ({ accept }: UploadLink) =>
  accept.length <= 8 ? accept.join() : 'image/*,image/heic,image/heif'

function renderLimits(link: UploadLink, texts: Texts, language: Language) {
  const { limits } = texts
  const names = [...new Set(link.accept.map((type) => formatNames[type]!))]
  const shown = [...SHOWN_FORMATS.filter((name) => names.includes(name)), ...names]
  const first = [...new Set(shown)].slice(0, names.length > 6 ? 4 : 6)
  const rest = names.length - first.length
  const formats = first.join(', ')
  const text =
    rest === 0
      ? fill(limits.formats, language, { formats })
      : fill(limits.moreFormats, language, { formats, count: rest })
  return html`<ul class="limits">
${
  link.remainingImages !== undefined &&
  html`<li>${fill(limits.images, language, { count: link.remainingImages })}</li>`
}
<li>${fill(limits.size, language, { size: showBytes(link.maxFileSize, language) })}</li>
${
  link.remainingBytes !== undefined &&
  html`<li>${fill(limits.bytes, language, { size: showBytes(link.remainingBytes, language) })}</li>`
}
<li>${renderUntil(limits.until, link.expiresOn, language)}</li>
<li>${rest === 0 ? text : html`<details><summary>${text}</summary><p>${names.join(', ')}</p></details>`}</li>
${link.stripMetadata && html`<li>${limits.stripped}</li>`}
${link.private && html`<li>${limits.private}</li>`}
</ul>`
}

// The script shows the time in the time zone of the reader.
function renderUntil(text: string, expiresOn: string, language: Language) {
  const [before, after] = text.split('{date}')
  const date = new Date(expiresOn).toLocaleString(language, {
    dateStyle: 'medium',
    timeStyle: 'short',
    timeZone: 'UTC',
  })
  return html`${before}<time datetime="${expiresOn}">${date} UTC</time>${after}`
}

function renderSender({ askSender }: UploadLink, texts: Texts) {
  const isRequired = askSender === 'required'
  return html`<div class="sender">
<div class="field">
<label for="sender">${isRequired ? texts.sender : texts.senderOptional}</label>
${
  isRequired
    ? html`<input id="sender" name="sender" maxlength="100" autocomplete="name" required aria-describedby="sender-fault">
<p class="fault" id="sender-fault" hidden>${texts.senderMissing}</p>`
    : html`<input id="sender" name="sender" maxlength="100" autocomplete="name">`
}
</div>
<div class="field">
<label for="message">${texts.message}</label>
<textarea id="message" name="message" maxlength="1000" rows="2"></textarea>
</div>
</div>`
}

/** The page that follows a form without JavaScript: what arrived and what did not. */
export function renderResult(
  { processed, rejected }: { processed: Processed[]; rejected: Rejected[] },
  language: Language,
): Rendered {
  const texts = translations[language]
  const duplicates = processed.filter(({ duplicate }) => duplicate).length
  const arrived = processed.length - duplicates
  const title = rejected.length === 0 ? texts.done : processed.length > 0 ? texts.doneSome : texts.doneNone
  const body = html`<main class="column upload">
<section class="card done">
${processed.length > 0 && check}
<h1>${title}</h1>
${arrived > 0 && html`<p>${fill(texts.arrived, language, { count: arrived })}</p>`}
${duplicates > 0 && html`<p>${fill(texts.duplicates, language, { count: duplicates })}</p>`}
${
  rejected.length > 0 &&
  html`<p>${fill(texts.refused, language, { count: rejected.length })}</p>
<ul class="refused">${rejected.map(
    ({ name, reason }) => html`<li><strong>${name}</strong> <span>${texts.reasons[reason]}</span></li>`,
  )}</ul>`
}
<a class="button second" href="">${texts.another}</a>
</section>
</main>`
  return { title, body }
}

const check = html`<svg class="icon check" viewBox="0 0 24 24" aria-hidden="true"><path d="m5 12.5 4.5 4.5L19 7.5"/></svg>`

/**
 * The form that asks for the password of a link.
 *
 * @param fault the name of the error of the last password, if one was refused
 */
export function renderUnlock({
  action,
  fault,
  language,
}: {
  action: string
  fault: string | undefined
  language: Language
}): Rendered {
  const { unlock } = translations[language]
  const text = fault === 'TooManyFailedLookups' ? unlock.TooManyFailedLookups : unlock.WrongPassword
  const body = html`<main class="message">
<svg class="icon sign" viewBox="0 0 24 24" aria-hidden="true"><rect x="5" y="10.5" width="14" height="9.5" rx="2.5"/><path d="M8 10.5V8a4 4 0 0 1 8 0v2.5"/></svg>
<h1>${unlock.title}</h1>
<p class="soft" id="detail">${unlock.detail}</p>
<form class="unlock" method="post" action="${action}">
<div class="field">
<label for="password">${unlock.password}</label>
${
  fault === undefined
    ? html`<input id="password" name="password" type="password" autocomplete="off" maxlength="200" required autofocus>`
    : html`<input id="password" name="password" type="password" autocomplete="off" maxlength="200" required autofocus aria-invalid="true" aria-describedby="fault">
<p class="fault" id="fault">${text}</p>`
}
</div>
<button class="button large">${unlock.submit}</button>
</form>
</main>`
  return { title: unlock.title, body }
}
