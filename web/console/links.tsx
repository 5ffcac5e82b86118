import { useState } from 'preact/hooks'
import { ApiError, api, type Link } from './api.ts'
import {
  bytes,
  Dialog,
  Field,
  Icon,
  Loading,
  Problem,
  Select,
  say,
  texts,
  time,
  useLoaded,
} from './common.tsx'

const POLL_MS = 5_000
const PAGE = 50

/** All links, newest first, with a search. The list updates itself. */
export function LinksView() {
  const [search, setSearch] = useState('')
  const [limit, setLimit] = useState(PAGE)
  const [isCreating, setCreating] = useState(false)
  const { data, error, reload } = useLoaded(
    () => api.links({ limit, search: search.trim() }),
    `${limit} ${search}`,
    POLL_MS,
  )
  return (
    <div class="stack wide">
      <div class="bar">
        <h1>{texts.links.title}</h1>
        <div class="actions tools">
          <div class="field search">
            <input
              type="search"
              placeholder={texts.links.search}
              aria-label={texts.links.search}
              value={search}
              maxLength={200}
              onInput={(event) => setSearch(event.currentTarget.value)}
            />
          </div>
          <button type="button" class="button" onClick={() => setCreating(true)}>
            <Icon name="plus" />
            {texts.links.create}
          </button>
        </div>
      </div>
      {error && <Problem error={error} retry={reload} />}
      {!data && !error && <Loading />}
      {data?.items.length === 0 && (
        <div class="empty">
          <p>{search ? texts.links.noMatch : texts.links.empty}</p>
          {!search && <p class="soft">{texts.links.emptyDetail}</p>}
        </div>
      )}
      {data && data.items.length > 0 && (
        <ul class="rows card">
          {data.items.map((link) => (
            <Row key={link.id} link={link} />
          ))}
        </ul>
      )}
      {data?.nextCursor && limit < 500 && (
        <button type="button" class="button second" onClick={() => setLimit(Math.min(500, limit + 100))}>
          {texts.more}
        </button>
      )}
      {isCreating && <NewLinkDialog onClose={() => setCreating(false)} />}
    </div>
  )
}

export const StatusBadge = ({ status }: Pick<Link, 'status'>) => (
  <span class={`badge ${status}`}>{texts.links.status[status]}</span>
)

const Row = ({ link }: { link: Link }) => (
  <li>
    <a class="row" href={`#/links/${link.id}`}>
      <span class="grow">
        <strong class="clip" dir="auto">
          {link.label ?? texts.links.untitled}
        </strong>
        <span class="soft small clip" dir="auto">
          {link.description ?? say(texts.links.until, { date: time(link.expiresOn) })}
        </span>
      </span>
      <span class="soft small number">
        {say(texts.pictures, { count: link.uploads })}
        {link.uploads > 0 && ` · ${bytes(link.bytes)}`}
      </span>
      <StatusBadge status={link.status} />
    </a>
  </li>
)

const FORMATS = {
  'image/jpeg': 'JPEG',
  'image/png': 'PNG',
  'image/heic': 'HEIC',
  'image/webp': 'WebP',
  'image/avif': 'AVIF',
  'image/gif': 'GIF',
  'image/tiff': 'TIFF',
}
const MEGABYTE = 1_000_000

/** The body of the call that creates a link: only the fields that were filled in. */
function toNewLink(form: FormData) {
  const text = (name: string) => String(form.get(name) ?? '').trim() || undefined
  const count = (name: string, unit = 1) => (text(name) ? Math.round(Number(text(name)) * unit) : undefined)
  const instant = (name: string) => (text(name) ? new Date(text(name)!).toISOString() : undefined)
  const accept = form.getAll('accept').map(String)
  const isExact = text('duration') === 'exact'
  const link = {
    ...(isExact ? { timeExact: instant('date') } : { sinceNow: text('duration') }),
    label: text('label'),
    description: text('description'),
    opensOn: instant('opensOn'),
    maxImages: count('maxImages'),
    maxBytes: count('maxBytes', MEGABYTE),
    maxFileSize: count('maxFileSize', MEGABYTE),
    accept: accept.length > 0 ? accept : undefined,
    region: text('region'),
    askSender: text('askSender') === 'no' ? undefined : text('askSender'),
    password: text('password'),
    private: form.has('private') || undefined,
    stripMetadata: form.has('stripMetadata') || undefined,
  }
  return Object.fromEntries(Object.entries(link).filter(([, value]) => value !== undefined))
}

function NewLinkDialog({ onClose }: { onClose: () => void }) {
  const [error, setError] = useState<ApiError>()
  const { data: storage } = useLoaded(() => api.storage(), 'regions')
  const regions = [...new Set(storage?.stores.map(({ region }) => region))].filter((name) => name !== '')
  const submit = async (event: SubmitEvent) => {
    event.preventDefault()
    try {
      const { relativePath } = await api.createLink(
        toNewLink(new FormData(event.currentTarget as HTMLFormElement)),
      )
      onClose()
      location.hash = `#/links/${relativePath.split('/').at(-1)}`
    } catch (error) {
      if (error instanceof ApiError) setError(error)
    }
  }
  const { form } = texts
  return (
    <Dialog title={form.title} onClose={onClose}>
      <form class="stack" onSubmit={submit}>
        <Field id="label" label={form.label} hint={form.labelHint} maxLength={200} />
        <div class="field">
          <label for="description">{form.description}</label>
          <textarea id="description" name="description" maxLength={2000} placeholder={form.descriptionHint} />
        </div>
        <DurationFields />
        <details class="stack">
          <summary>{form.more}</summary>
          <div class="pair">
            <Field id="maxImages" label={form.maxImages} type="number" min={1} />
            <Field id="maxBytes" label={form.maxBytes} type="number" min={1} />
          </div>
          <div class="pair">
            <Field id="maxFileSize" label={form.maxFileSize} type="number" min={1} />
            <Field id="opensOn" label={form.opensOn} type="datetime-local" />
          </div>
          <fieldset class="field">
            <legend>{form.accept}</legend>
            <div class="choices">
              {Object.entries(FORMATS).map(([type, name]) => (
                <label key={type} class="choice">
                  <input type="checkbox" name="accept" value={type} /> {name}
                </label>
              ))}
            </div>
            <p class="soft small">{form.acceptHint}</p>
          </fieldset>
          {regions.length > 0 && (
            <Select
              id="region"
              label={form.region}
              options={{ '': form.anyRegion, ...Object.fromEntries(regions.map((name) => [name, name])) }}
            />
          )}
          <div class="pair">
            <Select id="askSender" label={form.askSender} options={form.ask} />
            <Field id="password" label={form.password} autocomplete="off" maxLength={200} />
          </div>
          <label class="choice">
            <input type="checkbox" name="private" /> {form.private}
          </label>
          <label class="choice">
            <input type="checkbox" name="stripMetadata" /> {form.stripMetadata}
          </label>
        </details>
        {error && <Problem error={error} />}
        <div class="actions end">
          <button type="button" class="button second" onClick={onClose}>
            {texts.cancel}
          </button>
          <button type="submit" class="button">
            {form.create}
          </button>
        </div>
      </form>
    </Dialog>
  )
}

/** A duration, or a date and a time. */
export function DurationFields() {
  const [chosen, setChosen] = useState('P7D')
  return (
    <>
      <Select
        id="duration"
        label={texts.form.duration}
        options={texts.form.durations}
        value={chosen}
        onChange={setChosen}
      />
      {chosen === 'exact' && <Field id="date" label={texts.form.date} type="datetime-local" required />}
    </>
  )
}
