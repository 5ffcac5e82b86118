import './style.css'
import { signal, useComputed, useSignal } from '@preact/signals'
import { render } from 'preact'
import { useEffect, useRef } from 'preact/hooks'
import { readData } from '../shared/data.ts'
import { fill, type Plural, showBytes } from '../shared/languages.ts'
import { Icon } from './icons.tsx'
import type { PageData } from './page.ts'
import { createQueue, type Item, isOver, type Queue } from './queue.ts'

const { texts, id, language, accept } = readData<PageData>()
const say = (text: string | Plural, values?: Record<string, string | number>) => fill(text, language, values)

const isAndroid = /Android/i.test(navigator.userAgent)
const isTouch = matchMedia('(pointer: coarse)').matches
const field = (name: string) => document.getElementById(name) as HTMLInputElement | null

// The page is at …/uploads/{id}. The image's route is beside it.
const root = location.pathname.replace(/\/uploads\/[^/]+\/?$/, '')
const queue = createQueue({
  link: id,
  endpoint: `${location.origin}${root}/uploads/${id}/files`,
  imageUrl: (imageId) => `${root}/images/${imageId}?w=320&h=320&fit=cover&format=auto`,
  metadata() {
    const [sender, message] = ['sender', 'message'].map((name) => field(name)?.value.trim())
    return { ...(sender && { sender }), ...(message && { message }) }
  },
})

/** Texts that a screen reader reads when they change. */
const announced = signal('')
const skipped = signal(0)
const isDropping = signal(false)

function addFiles(files: Iterable<File>) {
  skipped.value = queue.add([...files])
}

function start() {
  const sender = field('sender')
  const isMissing = sender?.required === true && sender.value.trim() === ''
  markSender(isMissing)
  if (isMissing) return sender.focus()
  queue.start()
}

function markSender(isMissing: boolean) {
  const fault = document.getElementById('sender-fault')
  if (!fault) return
  fault.hidden = !isMissing
  field('sender')!.setAttribute('aria-invalid', String(isMissing))
}

const inputIds = { pictures: 'choose', camera: 'camera', folder: 'folder', files: 'files' } as const
const openInput = (name: keyof typeof inputIds) => () => field(inputIds[name])!.click()

/** The inputs stay in the page, so that one that is open is not lost. */
function Inputs() {
  const onChange = (event: Event) => {
    const input = event.currentTarget as HTMLInputElement
    addFiles(input.files ?? [])
    input.value = ''
  }
  const hidden = { type: 'file', hidden: true, tabIndex: -1, onChange } as const
  return (
    <>
      <input {...hidden} id={inputIds.pictures} multiple accept={accept} />
      <input {...hidden} id={inputIds.camera} accept="image/*" capture="environment" />
      <input {...hidden} id={inputIds.folder} multiple {...{ webkitdirectory: true }} />
      <input {...hidden} id={inputIds.files} multiple />
    </>
  )
}

const AddMore = () => (
  <button type="button" class="button second" onClick={openInput('pictures')}>
    <Icon name="plus" />
    <span class="label">{texts.more}</span>
  </button>
)

function Picker() {
  return (
    <div class="drop">
      <Icon name="pictures" class="sign" />
      <button type="button" class="button large" data-main onClick={openInput('pictures')}>
        {texts.choose}
      </button>
      {!isTouch && <p class="soft small">{texts.drop}</p>}
      <div class="ways">
        {isTouch && (
          <button type="button" class="button plain" onClick={openInput('camera')}>
            <Icon name="camera" />
            {texts.take}
          </button>
        )}
        {!isTouch && (
          <button type="button" class="button plain" onClick={openInput('folder')}>
            <Icon name="folder" />
            {texts.folder}
          </button>
        )}
        {isAndroid && (
          <button type="button" class="button plain" aria-describedby="android" onClick={openInput('files')}>
            <Icon name="place" />
            {texts.asFiles}
          </button>
        )}
      </div>
      {isAndroid && (
        <p class="small soft" id="android">
          {texts.android}
        </p>
      )}
    </div>
  )
}

// Tiles ask for a preview only when they are visible, so that hundreds of files are not decoded at once.
const watched = new Map<Element, Item>()
const observer = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) {
      if (!isIntersecting) continue
      observer.unobserve(target)
      void queue.showPreview(watched.get(target)!)
      watched.delete(target)
    }
  },
  { rootMargin: '200px' },
)

function Tile({ item }: { item: Item }) {
  const tile = useRef<HTMLLIElement>(null)
  useEffect(() => {
    watched.set(tile.current!, item)
    observer.observe(tile.current!)
    const element = tile.current!
    return () => {
      observer.unobserve(element)
      watched.delete(element)
    }
  }, [item])
  const state = item.state.value
  const isQueued = !isOver(state) && queue.phase.value !== 'choosing'
  const share = useComputed(() => Math.round((item.sent.value / Math.max(1, item.size)) * 100))
  return (
    <li class={`tile ${isQueued ? 'queued' : state}`} ref={tile} title={item.name}>
      {item.preview.value ? (
        <img
          src={item.preview.value}
          alt=""
          onError={() => {
            item.preview.value = ''
          }}
        />
      ) : (
        <Icon name="picture" class="blank" />
      )}
      <span class="spoken">
        {item.name}, {showBytes(item.size, language)}, {texts.states[state]}
      </span>
      {state === 'sending' && (
        <span class="bar" aria-hidden="true">
          <span style={{ inlineSize: `${share.value}%` }} />
        </span>
      )}
      {(state === 'arrived' || state === 'duplicate') && <Icon name="check" class="badge good" />}
      {state === 'refused' && <Icon name="cross" class="badge bad" />}
      {state === 'waiting' && queue.phase.value === 'choosing' && (
        <button
          type="button"
          class="remove"
          aria-label={say(texts.remove, { name: item.name })}
          onClick={() => queue.remove(item)}
        >
          <Icon name="cross" />
        </button>
      )}
    </li>
  )
}

function Tiles() {
  const items = queue.items.value
  if (items.length === 0) return null
  return (
    <ul class="tiles" aria-label={texts.list}>
      {items.map((item) => (
        <Tile key={item.id} item={item} />
      ))}
    </ul>
  )
}

function remainingTime(seconds: number) {
  const { remaining } = texts
  if (seconds < 45) return remaining.seconds
  const minutes = Math.round(seconds / 60)
  return minutes < 60
    ? say(remaining.minutes, { count: Math.max(1, minutes) })
    : say(remaining.hours, { count: Math.round(minutes / 60) })
}

function showSpeed(seconds: number) {
  const speed = queue.speed.value
  if (speed === 0) return texts.progress
  return `${say(texts.speed, { speed: showBytes(speed, language) })} · ${remainingTime(seconds)}`
}

function Progress() {
  const { bytes, sentBytes, over, count } = queue.totals.value
  const speed = queue.speed.value
  const isPaused = queue.phase.value === 'paused'
  const { isOffline } = queue
  const details = isPaused ? texts.paused : isOffline.value ? '' : showSpeed((bytes - sentBytes) / speed)
  return (
    <div class="progress">
      <p class="line">
        <strong>{say(texts.progressOf, { done: over, count })}</strong>
        <span class="soft small">{details}</span>
      </p>
      <progress aria-label={texts.progress} max={Math.max(1, bytes)} value={sentBytes} />
      {isOffline.value && !isPaused && (
        <p class="note warn">
          <Icon name="offline" />
          {texts.waiting}
        </p>
      )}
      {queue.wasRestored.value && <p class="small soft">{texts.restored}</p>}
      <div class="actions">
        <button type="button" class="button second" data-main onClick={isPaused ? start : queue.pause}>
          <Icon name={isPaused ? 'play' : 'pause'} />
          {isPaused ? texts.resume : texts.pause}
        </button>
        <AddMore />
      </div>
    </div>
  )
}

// The reasons for which the same file may be accepted the next time.
const AGAIN = new Set([
  'digest_mismatch',
  'malformed',
  'incomplete',
  'insufficient_storage',
  'too_many_files',
  'busy',
  'other',
])

function Refused({ items }: { items: Item[] }) {
  const again = items.filter(({ reason }) => AGAIN.has(reason.value))
  if (items.length === 0) return null
  return (
    <div class="problems">
      <p>{say(texts.refused, { count: items.length })}</p>
      <ul class="refused">
        {items.map((item) => (
          <li key={item.id}>
            <span>
              <strong>{item.name}</strong>{' '}
              {texts.reasons[item.reason.value as keyof typeof texts.reasons] ?? texts.reasons.other}
            </span>
            {AGAIN.has(item.reason.value) && (
              <button type="button" class="button plain" onClick={() => queue.retry([item])}>
                {texts.retry}
                <span class="spoken"> {item.name}</span>
              </button>
            )}
          </li>
        ))}
      </ul>
      {again.length > 1 && (
        <button type="button" class="button second" onClick={() => queue.retry(again)}>
          {texts.retryAll}
        </button>
      )}
    </div>
  )
}

function summary() {
  const [arrived, duplicates] = [queue.of('arrived').length, queue.of('duplicate').length]
  return [
    arrived > 0 && say(texts.arrived, { count: arrived }),
    duplicates > 0 && say(texts.duplicates, { count: duplicates }),
  ].filter((text) => text !== false)
}

function doneTitle() {
  if (queue.of('refused').length === 0) return texts.done
  return queue.of('arrived', 'duplicate').length > 0 ? texts.doneSome : texts.doneNone
}

function Done() {
  const heading = useRef<HTMLHeadingElement>(null)
  useEffect(() => heading.current?.focus(), [])
  const isGood = queue.of('arrived', 'duplicate').length > 0
  return (
    <section class="done">
      {isGood && <Icon name="check" class="check" />}
      <h2 ref={heading} tabIndex={-1}>
        {doneTitle()}
      </h2>
      {summary().map((text) => (
        <p key={text}>{text}</p>
      ))}
      <Refused items={queue.of('refused')} />
      <button type="button" class="button second" onClick={queue.reset}>
        {texts.another}
      </button>
    </section>
  )
}

const SHOWN_NAMES = 5

function Lost() {
  const files = queue.lost.value
  if (files.length === 0) return null
  return (
    <div class="note warn">
      <p>{say(texts.again, { count: files.length })}</p>
      <p class="small">
        {files
          .slice(0, SHOWN_NAMES)
          .map(({ name }) => name)
          .join(', ')}
        {files.length > SHOWN_NAMES && ' …'}
      </p>
    </div>
  )
}

function Chosen() {
  const { bytes, count } = queue.totals.value
  return (
    <p class="line">
      <strong>{say(texts.chosen, { count })}</strong>
      <span class="soft small">{showBytes(bytes, language)}</span>
    </p>
  )
}

const Send = () => (
  <div class="actions last">
    <AddMore />
    <button type="button" class="button grow" id="send" data-main onClick={start}>
      {say(texts.sendCount, { count: queue.items.value.length })}
    </button>
  </div>
)

// Whether the person uses the keyboard now. A focus that a person did not ask for is then shown.
let hasKeyboard = false

function watchKeyboard() {
  addEventListener('keydown', () => {
    hasKeyboard = true
    for (const element of document.querySelectorAll<HTMLElement>('[data-quiet]')) delete element.dataset.quiet
  })
  addEventListener('pointerdown', () => {
    hasKeyboard = false
  })
}

/** When a button with the focus disappears, the main button of the next state gets the focus. */
function useFocus(state: string) {
  const before = useRef(state)
  useEffect(() => {
    if (before.current === state) return
    before.current = state
    if (document.activeElement !== document.body) return
    const main = document.querySelector<HTMLElement>('[data-main]')
    if (main && !hasKeyboard) main.dataset.quiet = ''
    main?.focus({ preventScroll: true })
  }, [state])
}

function Main() {
  const phase = queue.phase.value
  const isEmpty = queue.items.value.length === 0
  useFocus(isEmpty ? 'empty' : phase)
  const isSending = phase === 'sending' || phase === 'paused'
  return (
    <>
      <Inputs />
      {phase === 'done' ? <Done /> : <Lost />}
      {isSending && <Progress />}
      {phase === 'choosing' && (isEmpty ? <Picker /> : <Chosen />)}
      {skipped.value > 0 && phase !== 'done' && (
        <p class="small soft">{say(texts.skipped, { count: skipped.value })}</p>
      )}
      <Tiles />
      {isSending && <Refused items={queue.of('refused')} />}
      {phase === 'choosing' && !isEmpty && <Send />}
    </>
  )
}

function Sent() {
  const pictures = queue.sent.value
  if (pictures.length === 0 || queue.phase.value !== 'choosing') return null
  return (
    <details class="sent">
      <summary>
        {texts.sent} ({pictures.length.toLocaleString(language)})
      </summary>
      <ul class="tiles">
        {pictures.map((picture) => (
          <SentTile key={picture.id} picture={picture} />
        ))}
      </ul>
      <button type="button" class="button plain" onClick={queue.forget}>
        {texts.forget}
      </button>
    </details>
  )
}

function SentTile({ picture }: { picture: Queue['sent']['value'][number] }) {
  const { name, preview, imageId } = picture
  const url = useSignal(preview || !imageId ? '' : queue.imageUrl(imageId))
  useEffect(() => {
    if (!preview) return undefined
    url.value = URL.createObjectURL(preview)
    return () => URL.revokeObjectURL(url.value)
  }, [preview])
  return (
    <li class="tile" title={name}>
      {url.value ? (
        <img
          src={url.value}
          alt={name}
          loading="lazy"
          onError={() => {
            url.value = ''
          }}
        />
      ) : (
        <>
          <Icon name="picture" class="blank" />
          <span class="spoken">{name}</span>
        </>
      )}
    </li>
  )
}

function Announcer() {
  return (
    <p class="spoken" role="status">
      {announced.value}
    </p>
  )
}

/** Announces the progress, but not each picture: a screen reader would read without a pause. */
function announceMilestones() {
  let last = 0
  let before = queue.phase.value
  queue.phase.subscribe((phase) => {
    if (phase === before) return
    before = phase
    last = 0
    if (phase === 'sending') announced.value = texts.progress
    if (phase === 'paused') announced.value = texts.paused
    if (phase === 'done') announced.value = [doneTitle(), ...summary()].join(' ')
  })
  queue.totals.subscribe(({ over, count }) => {
    const quarter = Math.floor((over / Math.max(1, count)) * 4)
    if (queue.phase.value !== 'sending' || quarter <= last || over === count) return
    last = quarter
    announced.value = say(texts.progressOf, { done: over, count })
  })
  queue.isOffline.subscribe((isOffline) => {
    if (isOffline) announced.value = texts.waiting
  })
}

/** Keeps the screen on while files are sent. */
function keepAwake() {
  let lock: WakeLockSentinel | undefined
  const update = async () => {
    const isNeeded = queue.phase.value === 'sending' && document.visibilityState === 'visible'
    if (isNeeded && (!lock || lock.released))
      lock = await navigator.wakeLock?.request('screen').catch(() => undefined)
    if (!isNeeded) await lock?.release().catch(() => {})
  }
  queue.phase.subscribe(() => void update())
  document.addEventListener('visibilitychange', () => void update())
}

async function filesOf(entry: FileSystemEntry): Promise<File[]> {
  if (entry.isFile)
    return new Promise((resolve) =>
      (entry as FileSystemFileEntry).file(
        (file) => resolve([file]),
        () => resolve([]),
      ),
    )
  const reader = (entry as FileSystemDirectoryEntry).createReader()
  const found: File[] = []
  for (;;) {
    const entries = await new Promise<FileSystemEntry[]>((resolve) =>
      reader.readEntries(resolve, () => resolve([])),
    )
    if (entries.length === 0) return found
    for (const each of entries) found.push(...(await filesOf(each)))
  }
}

function listenToDropsAndPastes() {
  const hasFiles = ({ dataTransfer }: DragEvent) => dataTransfer?.types.includes('Files') ?? false
  addEventListener('dragover', (event) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    isDropping.value = true
  })
  addEventListener('dragleave', (event) => {
    if (event.relatedTarget === null) isDropping.value = false
  })
  addEventListener('drop', async (event) => {
    if (!hasFiles(event)) return
    event.preventDefault()
    isDropping.value = false
    // An item that is not in a file system, such as a picture of another page, has a file but no entry.
    const found = [...event.dataTransfer!.items].flatMap(
      (item) => item.webkitGetAsEntry() ?? item.getAsFile() ?? [],
    )
    const files = found.map((each) => (each instanceof File ? [each] : filesOf(each)))
    addFiles((await Promise.all(files)).flat())
  })
  addEventListener('paste', ({ clipboardData }) => {
    if (clipboardData && clipboardData.files.length > 0) addFiles(clipboardData.files)
  })
}

const DropHint = () =>
  isDropping.value ? (
    <div class="dropping" aria-hidden="true">
      {texts.dropNow}
    </div>
  ) : null

function showLocalTimes() {
  for (const time of document.querySelectorAll('time')) {
    const date = new Date(time.dateTime)
    time.textContent = date.toLocaleString(language, { dateStyle: 'medium', timeStyle: 'short' })
  }
}

function begin() {
  const form = document.getElementById('form') as HTMLFormElement
  const picker = document.getElementById('picker')!
  // The person may have chosen files before this script was loaded.
  const early = [...((field('image')?.files ?? []) as Iterable<File>)]
  form.noValidate = true
  form.addEventListener('submit', (event) => {
    event.preventDefault()
    if (queue.items.value.length > 0 && queue.phase.value === 'choosing') start()
  })
  field('sender')?.addEventListener('input', () => markSender(false))
  picker.replaceChildren()
  render(<Main />, picker)
  const results = document.getElementById('results')!
  render(
    <>
      <Sent />
      <Announcer />
      <DropHint />
    </>,
    results,
  )
  queue.phase.subscribe((phase) => {
    form.dataset.phase = phase
    const sender = form.querySelector('.sender') as HTMLElement | null
    if (sender) sender.hidden = phase !== 'choosing'
  })
  showLocalTimes()
  watchKeyboard()
  listenToDropsAndPastes()
  announceMilestones()
  keepAwake()
  addEventListener('beforeunload', (event) => {
    const isLost = queue.items.value.some(({ state }) => !isOver(state.value))
    if (isLost && queue.phase.value === 'sending' && !queue.isKept()) event.preventDefault()
  })
  void queue.restore().then((metadata) => {
    for (const [name, value] of Object.entries(metadata ?? {})) {
      const input = field(name)
      if (input && input.value === '') input.value = value
    }
    if (early.length > 0) addFiles(early)
  })
  document.documentElement.dataset.ready = ''
}

begin()
