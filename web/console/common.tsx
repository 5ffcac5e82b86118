import type { ComponentChildren, JSX } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'
import { readData } from '../shared/data.ts'
import { fill, type Plural, showBytes, type Translations } from '../shared/languages.ts'
import { ApiError } from './api.ts'
import { de } from './de.ts'
import { en } from './en.ts'
import type { ConsoleData } from './page.ts'

const all: Translations<typeof en> = { en, de }
export const { language } = readData<ConsoleData>()
/** The texts in the language of the page. */
export const texts = all[language]

export const say = (text: string | Plural, values?: Record<string, string | number>) =>
  fill(text, language, values)
export const bytes = (count: number) => showBytes(count, language)
/** The reader's own form of the language, `en-GB`, which decides how a date is written. */
const locale = navigator.languages.find((each) => each.split('-')[0] === language) ?? language
export const number = (value: number) => value.toLocaleString(language)
export const time = (text: string) =>
  new Date(text).toLocaleString(locale, { dateStyle: 'medium', timeStyle: 'short' })
export const day = (text: string) =>
  new Date(text).toLocaleDateString(locale, { day: 'numeric', month: 'short', timeZone: 'UTC' })

/** A duration in the largest unit that fits: `3 hours`. */
export function duration(seconds: number) {
  const [unit, size] =
    seconds < 60
      ? ['second', 1]
      : seconds < 3600
        ? ['minute', 60]
        : seconds < 172_800
          ? ['hour', 3600]
          : ['day', 86_400]
  return new Intl.NumberFormat(language, { style: 'unit', unit: unit as string, unitDisplay: 'long' }).format(
    Math.floor(seconds / (size as number)),
  )
}

/** The path after # in the URL of the page, split at each slash, and its query. */
export function useRoute() {
  const read = () => {
    const [path = '', query = ''] = location.hash.replace(/^#\/?/, '').split('?')
    return { parts: path.split('/').map(decodeURIComponent), query: new URLSearchParams(query) }
  }
  const [route, setRoute] = useState(read)
  useEffect(() => {
    const update = () => setRoute(read())
    addEventListener('hashchange', update)
    return () => removeEventListener('hashchange', update)
  }, [])
  return route
}

/** Loads data when `key` changes, and again every `every` milliseconds while the page is visible. */
export function useLoaded<Data>(load: () => Promise<Data>, key: string, every = 0) {
  const [state, setState] = useState<{ data?: Data; error?: ApiError }>({})
  const reload = useRef(async () => {})
  useEffect(() => {
    let isCurrent = true
    reload.current = async () => {
      try {
        const data = await load()
        if (isCurrent) setState({ data })
      } catch (error) {
        if (isCurrent && error instanceof ApiError) setState((before) => ({ ...before, error }))
      }
    }
    setState({})
    reload.current()
    const timer = every > 0 ? setInterval(() => !document.hidden && reload.current(), every) : 0
    return () => {
      isCurrent = false
      clearInterval(timer)
    }
  }, [key])
  return { ...state, reload: () => reload.current() }
}

/**
 * Copies the text of an element. A browser has a clipboard only on a secure page (W3C Clipboard API §7.2). Without one the
 * text is selected, so that the keyboard or the menu can copy it. Resolves with whether it was copied.
 */
export async function copyText(element: HTMLElement) {
  try {
    await navigator.clipboard.writeText(element.innerText)
    return true
  } catch {
    getSelection()?.selectAllChildren(element)
    // The old command works over plain HTTP.
    return document.execCommand('copy')
  }
}

let announce = (_text: string) => {}
/** Shows a short message, which a screen reader reads out. */
export const tell = (text: string) => announce(text)

export function Announcer() {
  const [text, setText] = useState('')
  useEffect(() => {
    announce = setText
  }, [])
  useEffect(() => {
    if (text === '') return
    const timer = setTimeout(() => setText(''), 4_000)
    return () => clearTimeout(timer)
  }, [text])
  return (
    <div role="status" class={text ? 'toast' : 'spoken'}>
      {text}
    </div>
  )
}

const PATHS = {
  plus: 'M12 5v14M5 12h14',
  copy: 'M9 9h10v11H9zM5 15V4h10',
  back: 'M15 5l-7 7 7 7',
  check: 'M5 12.5l4.5 4.5L19 7.5',
  download: 'M12 4v11m-5-5 5 5 5-5M5 20h14',
  trash: 'M5 7h14M10 7V4h4v3m-7 0 1 13h8l1-13',
  print: 'M7 9V4h10v5M7 17H4v-7h16v7h-3M7 14h10v6H7z',
  clock: 'M12 3a9 9 0 1 0 0 18 9 9 0 0 0 0-18zM12 7v5l3 2',
  refresh: 'M20 11a8 8 0 1 0-2 6m2 3v-5h-5',
  filter: 'M4 6h16M7 12h10M10 18h4',
  minus: 'M5 12h14',
  x: 'M6 6l12 12M18 6 6 18',
  picture: 'M4 5h16v14H4zM4 16l5-5 4 4 2-2 5 5M15 9.5v.01',
  grid: 'M4 4h7v7H4zM13 4h7v7h-7zM4 13h7v7H4zM13 13h7v7h-7z',
}

export const Icon = ({ name }: { name: keyof typeof PATHS }) => (
  <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
    <path d={PATHS[name]} />
  </svg>
)

export const Problem = ({ error, retry }: { error: ApiError; retry?: () => void }) => (
  <div class="note bad" role="alert">
    <p>
      {texts.error} <span lang="en">{error.message}</span>
    </p>
    {retry && (
      <button type="button" class="button second" onClick={retry}>
        {texts.retry}
      </button>
    )}
  </div>
)

export const Loading = () => (
  <p class="soft loading" role="status">
    {texts.loading}…
  </p>
)

/** A dialog above the page. Escape closes it, and the focus returns. */
export function Dialog({
  title,
  onClose,
  children,
}: {
  title: string
  onClose: () => void
  children: ComponentChildren
}) {
  const ref = useRef<HTMLDialogElement>(null)
  useEffect(() => {
    const dialog = ref.current!
    dialog.showModal()
    return () => dialog.close()
  }, [])
  return (
    <dialog ref={ref} class="card dialog" aria-labelledby="dialog-title" onClose={onClose}>
      <div class="bar">
        <h2 id="dialog-title">{title}</h2>
        <button type="button" class="button plain" onClick={onClose} aria-label={texts.close}>
          <Icon name="x" />
        </button>
      </div>
      {children}
    </dialog>
  )
}

/** Asks before something that cannot be undone. */
export function Confirm({
  title,
  detail,
  action,
  onConfirm,
  onClose,
}: {
  title: string
  detail: string
  action: string
  onConfirm: () => Promise<void>
  onClose: () => void
}) {
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState<ApiError>()
  const confirm = async () => {
    setBusy(true)
    try {
      await onConfirm()
      onClose()
    } catch (error) {
      setBusy(false)
      if (error instanceof ApiError) setError(error)
    }
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <p class="soft">{detail}</p>
      {error && <Problem error={error} />}
      <div class="actions end">
        <button type="button" class="button second" onClick={onClose}>
          {texts.cancel}
        </button>
        <button type="button" class="button danger" onClick={confirm} disabled={isBusy}>
          {action}
        </button>
      </div>
    </Dialog>
  )
}

type FieldProps = { label: string; hint?: string | undefined; id: string } & JSX.IntrinsicElements['input']

export const Field = ({ label, hint, id, ...input }: FieldProps) => (
  <div class="field">
    <label for={id}>{label}</label>
    <input id={id} name={id} {...input} aria-describedby={hint ? `${id}-hint` : undefined} />
    {hint && (
      <p class="soft small" id={`${id}-hint`}>
        {hint}
      </p>
    )}
  </div>
)

export const Select = ({
  label,
  id,
  options,
  value,
  onChange,
}: {
  label: string
  id: string
  options: Record<string, string>
  value?: string
  onChange?: (value: string) => void
}) => (
  <div class="field">
    <label for={id}>{label}</label>
    <select
      id={id}
      name={id}
      {...(value !== undefined && { value })}
      onChange={(event) => onChange?.(event.currentTarget.value)}
    >
      {Object.entries(options).map(([key, text]) => (
        <option key={key} value={key}>
          {text}
        </option>
      ))}
    </select>
  </div>
)
