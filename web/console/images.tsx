import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { ApiError, api, archiveOfImages } from './api.ts'
import { Confirm, Field, Icon, Loading, Problem, Select, say, tell, texts, time } from './common.tsx'
import { createPages, PAGE, type Pages, type ShownImage } from './pages.ts'
import { Picture } from './picture.tsx'

const TILE = 168
const TILE_ON_PHONE = 104
const GAP = 8
/** Rows above and below the visible ones that are shown too. */
const MARGIN_ROWS = 3
/** An archive is requested with the ids in its URL, whose length is limited. */
const MOST_SELECTED = 250
const CONCURRENT_REMOVALS = 4

const FILTERS = [
  'name',
  'hash',
  'status',
  'format',
  'cameraModel',
  'link',
  'receivedFrom',
  'receivedTo',
  'takenFrom',
  'takenTo',
  'bbox',
  'objectFault',
] as const

/** The gallery. The filters are in the URL of the page. */
export function ImagesView({ query }: { query: URLSearchParams }) {
  const filter = Object.fromEntries(
    FILTERS.flatMap((name) => (query.get(name) ? [[name, query.get(name)!]] : [])),
  )
  const key = JSON.stringify(filter)
  const [isOpen, setOpen] = useState(false)
  const [version, setVersion] = useState(0)
  const pages = useMemo(
    () =>
      createPages((cursor) =>
        api.images({ ...toQuery(filter), removed: withRemoved(filter), limit: PAGE, cursor }),
      ),
    [key, version],
  )
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set())
  const [isRemoving, setRemoving] = useState(false)
  const toggle = (id: string) => {
    const next = new Set(selected)
    if (!next.delete(id)) next.add(id)
    if (next.size > MOST_SELECTED) tell(texts.images.selectedLimit)
    else setSelected(next)
  }
  // With another filter, a selected image may not be shown any more.
  useEffect(() => setSelected(new Set()), [key])
  const count = Object.keys(filter).length
  return (
    <div class="stack full">
      <div class="bar" hidden={selected.size > 0}>
        <h1>{texts.images.title}</h1>
        <div class="actions">
          <a class="button second" href={archiveOfImages(toQuery(filter))} download>
            <Icon name="download" />
            {texts.images.archive}
          </a>
          <button type="button" class="button second" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
            <Icon name="filter" />
            {texts.images.filter}
            {count > 0 && ` (${count})`}
          </button>
        </div>
      </div>
      <p role="status" class="spoken">
        {selected.size > 0 && say(texts.images.selected, { count: selected.size })}
      </p>
      {selected.size > 0 && (
        <section class="bar selection" aria-label={texts.images.select}>
          <div class="heading">
            <button
              type="button"
              class="button plain"
              onClick={() => setSelected(new Set())}
              aria-label={texts.cancel}
            >
              <Icon name="x" />
            </button>
            <h1>{say(texts.images.selected, { count: selected.size })}</h1>
          </div>
          <div class="actions">
            <a class="button second" href={archiveOfImages({ ids: [...selected].join(',') })} download>
              <Icon name="download" />
              {texts.images.archive}
            </a>
            <button type="button" class="button second" onClick={() => setRemoving(true)}>
              <Icon name="trash" />
              {texts.images.remove}
            </button>
          </div>
        </section>
      )}
      {isOpen && <Filters filter={filter} key={key} />}
      <Gallery pages={pages} key={`${key} ${version}`} selected={selected} onToggle={toggle} />
      {isRemoving && (
        <Confirm
          title={say(texts.images.removeTitle, { count: selected.size })}
          detail={texts.images.removeDetail}
          action={texts.images.remove}
          onConfirm={async () => {
            await removeAll([...selected])
            tell(say(texts.images.removed, { count: selected.size }))
            setSelected(new Set())
            setVersion(version + 1)
          }}
          onClose={() => setRemoving(false)}
        />
      )}
    </div>
  )
}

/** Removes images, a few at a time. An image that is gone already is not an error. */
async function removeAll(ids: string[]) {
  const rest = [...ids]
  const removeSome = async () => {
    for (let id = rest.pop(); id; id = rest.pop())
      await api.removeImage(id).catch((error: ApiError) => {
        if (error.status !== 410) throw error
      })
  }
  await Promise.all(Array.from({ length: CONCURRENT_REMOVALS }, removeSome))
}

/** Removed images are shown only to an admin who searches for them. */
const withRemoved = ({ status }: Record<string, string>) => String(status === 'removed')

/** The times of the form have no zone. The API's times of receipt have one. */
function toQuery(filter: Record<string, string>) {
  const instant = (text: string | undefined) => (text ? new Date(text).toISOString() : undefined)
  const { receivedFrom, receivedTo, ...rest } = filter
  return { ...rest, receivedFrom: instant(receivedFrom), receivedTo: instant(receivedTo) }
}

function Filters({ filter }: { filter: Record<string, string> }) {
  const submit = (event: SubmitEvent) => {
    event.preventDefault()
    const given = [...new FormData(event.currentTarget as HTMLFormElement)]
      .map(([name, value]) => [name, String(value).trim()])
      .filter(([, value]) => value !== '')
    location.hash = `#/images?${new URLSearchParams(given as [string, string][])}`
  }
  const { images } = texts
  const known = useKnownValues()
  const field = (name: string, label: string, more: object = {}) => (
    <Field id={name} label={label} defaultValue={filter[name] ?? ''} {...more} />
  )
  return (
    <form class="card filters" onSubmit={submit} aria-label={images.filter}>
      {field('name', images.name)}
      <Select
        id="status"
        label={images.status}
        value={filter.status ?? ''}
        options={{ '': images.anyStatus, ...images.statuses }}
      />
      {field('format', images.format, { placeholder: 'JPEG', list: 'known-formats' })}
      {field('cameraModel', images.camera, { list: 'known-cameras' })}
      {field('takenFrom', images.takenFrom, { type: 'date' })}
      {field('takenTo', images.takenTo, { type: 'date' })}
      {field('receivedFrom', images.receivedFrom, { type: 'datetime-local' })}
      {field('receivedTo', images.receivedTo, { type: 'datetime-local' })}
      {field('bbox', images.bbox, { placeholder: '5.9,45.8,10.5,47.8' })}
      {field('link', images.link, { pattern: '[0-9A-Za-z]{48}', list: 'known-links' })}
      {field('hash', images.hash, { pattern: '[0-9a-f]{6,64}' })}
      <Select
        id="objectFault"
        label={images.objectFault}
        value={filter.objectFault ?? ''}
        options={images.faults}
      />
      <Known id="known-formats" values={known.formats} />
      <Known id="known-cameras" values={known.cameras} />
      <Known id="known-links" values={known.links} />
      <div class="actions end">
        <a class="button plain" href="#/images">
          {images.reset}
        </a>
        <button type="submit" class="button">
          {images.filter}
        </button>
      </div>
    </form>
  )
}

type KnownValues = Record<'formats' | 'cameras' | 'links', [value: string, label?: string | undefined][]>

/** The most used formats and cameras, and the newest links. A token may lack the scopes for them: then nothing is offered. */
function useKnownValues() {
  const [known, setKnown] = useState<KnownValues>({ formats: [], cameras: [], links: [] })
  const add = (some: Partial<KnownValues>) => setKnown((before) => ({ ...before, ...some }))
  useEffect(() => {
    api.stats().then(
      ({ topFormats, top10CameraModels }) =>
        add({
          formats: topFormats.map(({ format }) => [format]),
          cameras: top10CameraModels.flatMap(({ model }) => (model === 'unknown' ? [] : [[model]])),
        }),
      () => {},
    )
    api.links({ limit: 100 }).then(
      ({ items }) => add({ links: items.map(({ id, label }) => [id, label]) }),
      () => {},
    )
  }, [])
  return known
}

const Known = ({ id, values }: { id: string; values: KnownValues['links'] }) => (
  <datalist id={id}>
    {values.map(([value, label]) => (
      <option key={value} value={value} label={label} />
    ))}
  </datalist>
)

/** Shows the rows that are on the screen. A page of images that is far from the screen is dropped and read again later. */
function Gallery({
  pages,
  selected,
  onToggle,
}: {
  pages: Pages
  selected: ReadonlySet<string>
  onToggle: (id: string) => void
}) {
  const ref = useRef<HTMLUListElement>(null)
  const [, redraw] = useState(0)
  const [error, setError] = useState<ApiError>()
  const layout = useLayout(ref)
  const { columns, size, first, last } = layout
  const load = () => {
    setError(undefined)
    pages.require(first * columns, last * columns).then(
      (hasChanged) => hasChanged && redraw((n) => n + 1),
      (error) => error instanceof ApiError && setError(error),
    )
  }
  useEffect(load, [pages, first, last, columns, pages.count])
  const rows = Math.ceil(pages.count / columns)
  const shown = pages.slice(first * columns, Math.min(last, rows) * columns)
  const moveFocus = (event: KeyboardEvent, index: number) => {
    const right = document.documentElement.dir === 'rtl' ? -1 : 1
    const step = { ArrowRight: right, ArrowLeft: -right, ArrowDown: columns, ArrowUp: -columns }[event.key]
    if (!step) return
    const next = ref.current?.querySelector<HTMLElement>(`[data-index="${index + step}"] a`)
    if (!next) return
    event.preventDefault()
    next.focus()
  }
  return (
    <>
      {error && <Problem error={error} retry={load} />}
      {!error &&
        pages.count === 0 &&
        (pages.isComplete ? <p class="empty soft">{texts.images.empty}</p> : <Loading />)}
      <ul
        ref={ref}
        class={`gallery ${selected.size > 0 ? 'selecting' : ''}`}
        style={{ height: `${rows * (size + GAP)}px` }}
      >
        {shown.map(({ image, index }) => (
          <li
            key={index}
            class="cell"
            data-index={index}
            aria-posinset={index + 1}
            aria-setsize={pages.isComplete ? pages.count : -1}
            style={{
              width: `${size}px`,
              height: `${size}px`,
              insetInlineStart: `${(index % columns) * (size + GAP)}px`,
              top: `${Math.floor(index / columns) * (size + GAP)}px`,
            }}
          >
            {image && (
              <Tile
                key={image.id}
                image={image}
                isSelected={selected.has(image.id)}
                onToggle={() => onToggle(image.id)}
                onKeyDown={(event) => moveFocus(event, index)}
              />
            )}
          </li>
        ))}
      </ul>
    </>
  )
}

function Tile({
  image,
  isSelected,
  onToggle,
  onKeyDown,
}: {
  image: ShownImage
  isSelected: boolean
  onToggle: () => void
  onKeyDown: (event: KeyboardEvent) => void
}) {
  const label = say(texts.images.tile, { format: image.format, date: time(image.receivedAt) })
  return (
    <div class={`tile ${isSelected ? 'selected' : ''}`}>
      <a class="tile-link" href={`#/images/${image.id}`} onKeyDown={onKeyDown} aria-label={label}>
        <Picture
          id={image.id}
          status={image.status}
          {...(image.placeholder && { placeholder: image.placeholder })}
        />
      </a>
      <label class="tick">
        <input
          type="checkbox"
          checked={isSelected}
          onChange={onToggle}
          aria-label={`${texts.images.select}: ${label}`}
        />
      </label>
    </div>
  )
}

/** The size of a tile, the number of columns, and the rows that are on the screen or near it. */
function useLayout(ref: { current: HTMLUListElement | null }) {
  const [layout, setLayout] = useState({ columns: 4, size: TILE, first: 0, last: 10 })
  useEffect(() => {
    const measure = () => {
      // A last call may come when the list is gone.
      if (!ref.current) return
      const { width, top } = ref.current.getBoundingClientRect()
      const wanted = width < 600 ? TILE_ON_PHONE : TILE
      const columns = Math.max(1, Math.floor((width + GAP) / (wanted + GAP)))
      const size = Math.floor((width - GAP * (columns - 1)) / columns)
      const row = size + GAP
      const first = Math.max(0, Math.floor(-top / row) - MARGIN_ROWS)
      const last = first + Math.ceil(innerHeight / row) + 2 * MARGIN_ROWS + 1
      setLayout((before) =>
        before.columns === columns && before.size === size && before.first === first
          ? before
          : { columns, size, first, last },
      )
    }
    let frame = 0
    const later = () => {
      cancelAnimationFrame(frame)
      frame = requestAnimationFrame(measure)
    }
    measure()
    const observer = new ResizeObserver(later)
    observer.observe(ref.current!)
    addEventListener('scroll', later, { passive: true })
    return () => {
      cancelAnimationFrame(frame)
      observer.disconnect()
      removeEventListener('scroll', later)
    }
  }, [])
  return layout
}
