import { type Html, html } from './html.ts'
import { directionOf } from './languages.ts'
import type { PageFiles } from './manifest.ts'

/** A page without its header fields. */
export interface Document {
  language: string
  title: string
  /** The path from the page to the root of the service, such as `../`. So links work below the path of any proxy. */
  root: string
  icon: string
  /** The CSS of the page, which is part of it: a phone shows it after one request. */
  style: string
  scripts: PageFiles['scripts']
  body: Html
}

/** The HTML of a page. */
export function renderDocument({ language, title, root, icon, style, scripts, body }: Document): string {
  const [entry, ...parts] = scripts
  const { text } = html`<!doctype html>
<html lang="${language}" dir="${directionOf(language)}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<meta name="color-scheme" content="light dark">
<meta name="robots" content="noindex">
<meta name="referrer" content="no-referrer">
<title>${title}</title>
${icon !== '' && html`<link rel="icon" href="${root}assets/${icon}" type="image/svg+xml">`}
${entry !== undefined && html`<script type="module" src="${root}assets/${entry}"></script>`}
${parts.map((part) => html`<link rel="modulepreload" href="${root}assets/${part}">`)}
<style></style>
</head>
<body>
${body}
</body>
</html>
`
  // The style is our own file. It is put in last, because it may contain characters that a template would escape.
  return text.replace('<style>', () => `<style>${style}`)
}
