import { batch, computed, type Signal, signal } from '@preact/signals'
import { makePreview } from './previews.ts'
import { type Sending, send } from './send.ts'
import * as stored from './stored.ts'

export type State = 'waiting' | 'sending' | 'arrived' | 'duplicate' | 'refused'

/** A file that was chosen. */
export interface Item {
  id: string
  name: string
  size: number
  lastModified: number
  file: File
  /** Where its upload continues. */
  url: string | undefined
  /** The sender's name and message, from the moment when sending starts. */
  metadata: Record<string, string> | undefined
  /** When it was chosen, in milliseconds since 1970. */
  at: number
  /** The name of its image in the service, when it has arrived. */
  imageId: string
  /** Whether an earlier attempt was lost. That one may have arrived completely. */
  isRepeated: boolean
  state: Signal<State>
  /** Sent bytes. */
  sent: Signal<number>
  /** The name of a text in `reasons`. */
  reason: Signal<string>
  /** A URL of a small picture. Empty: there is none. */
  preview: Signal<string | undefined>
  sending: Sending | undefined
}

export type Phase = 'choosing' | 'sending' | 'paused' | 'done'

// Browsers open at most six connections to one host.
const AT_ONCE = 3
const MAX_WAIT_MS = 15_000
const SPEED_WINDOW_MS = 6_000
const TICK_MS = 1_000
const LOCK_WAIT_MS = 2_000
const KEPT_MS = 7 * 86_400_000
// The service makes the picture of a format that the browser cannot decode. It may not be ready at once.
const VARIANT_WAITS_MS = [0, 2_000, 5_000, 10_000]

/** The files of this page and their way to the service. */
export function createQueue({
  link,
  endpoint,
  imageUrl,
  metadata,
}: {
  link: string
  endpoint: string
  /** The URL of a small variant of an image. */
  imageUrl: (imageId: string) => string
  metadata: () => Record<string, string>
}) {
  const items = signal<Item[]>([])
  const phase = signal<Phase>('choosing')
  const isOffline = signal(false)
  const wasRestored = signal(false)
  /** Files of an earlier visit whose bytes this browser does not have. */
  const lost = signal<stored.PendingFile[]>([])
  const speed = signal(0)
  const sent = signal<stored.SentPicture[]>([])
  let room = 0
  const measured = stored.freeBytes().then((bytes) => {
    room = bytes
  })
  let isKept = true
  let wait = 0
  let wakeUp = () => {}

  const of = (...states: State[]) => items.value.filter(({ state }) => states.includes(state.value))
  const totals = computed(() => {
    const all = items.value
    const bytes = all.reduce((sum, { size }) => sum + size, 0)
    const sentBytes = all.reduce(
      (sum, { state, size, sent }) => sum + (isOver(state.value) ? size : Math.min(sent.value, size)),
      0,
    )
    return {
      bytes,
      sentBytes,
      over: all.filter(({ state }) => isOver(state.value)).length,
      count: all.length,
    }
  })

  function toItem(
    file: File,
    { id, url, metadata, at }: Partial<Pick<stored.PendingFile, 'id' | 'url' | 'metadata' | 'at'>> = {},
  ): Item {
    return {
      id: id ?? newId(),
      name: file.name,
      size: file.size,
      lastModified: file.lastModified,
      file,
      url,
      metadata,
      at: at ?? Date.now(),
      imageId: '',
      isRepeated: false,
      state: signal<State>('waiting'),
      sent: signal(0),
      reason: signal(''),
      preview: signal<string | undefined>(undefined),
      sending: undefined,
    }
  }

  /** Adds files. A file that is in the list already is left out. Returns the number of files that are not pictures. */
  function add(files: File[]): number {
    const pictures = files.filter(mayBePicture)
    const known = new Set(items.value.filter(({ state }) => state.value !== 'refused').map(fingerprint))
    const fresh = pictures.filter((file) => !known.has(fingerprint(file)))
    const added = fresh.map((file) => {
      const before = lost.value.find((each) => fingerprint(each) === fingerprint(file))
      return toItem(file, before && { id: before.id, ...(before.url !== undefined && { url: before.url }) })
    })
    batch(() => {
      if (added.length > 0 && phase.value === 'done') reset()
      items.value = [...items.value, ...added]
      lost.value = lost.value.filter((each) => !added.some(({ id }) => id === each.id))
    })
    for (const item of added) void keep(item)
    if (phase.value === 'sending') start()
    return files.length - pictures.length
  }

  /** Keeps a copy of the file, so that the upload continues after a reload. */
  async function keep(item: Item) {
    const { id, size, file } = item
    void stored.savePending(pendingOf(item))
    await measured
    const hasRoom = size <= room
    if (hasRoom) room -= size
    if (!hasRoom || !(await stored.saveFile({ id, link, file }))) isKept = false
    // It may have arrived before its copy was complete.
    if (isOver(item.state.value)) void stored.deletePending(id)
  }

  function remove(item: Item) {
    items.value = items.value.filter((each) => each !== item)
    if (item.preview.value) URL.revokeObjectURL(item.preview.value)
    void stored.deletePending(item.id)
  }

  function start() {
    const wasSending = phase.value === 'sending'
    phase.value = 'sending'
    wait = 0
    for (const item of of('waiting')) {
      if (item.metadata) continue
      item.metadata = metadata()
      void stored.savePending(pendingOf(item))
    }
    fill()
    if (!wasSending) tick()
  }

  function pause() {
    phase.value = 'paused'
    for (const item of of('sending')) stop(item)
  }

  function stop(item: Item) {
    item.sending?.stop()
    item.sending = undefined
    item.state.value = 'waiting'
  }

  /** Sends refused files again. */
  function retry(again: Item[]) {
    batch(() => {
      for (const item of again) {
        item.state.value = 'waiting'
        item.sent.value = 0
        item.url = undefined
        void keep(item)
      }
    })
    start()
  }

  function fill() {
    if (phase.value !== 'sending') return
    const free = (isOffline.value ? 1 : AT_ONCE) - of('sending').length
    const next = of('waiting').slice(0, Math.max(0, free))
    for (const item of next) void sendOne(item)
    if (next.length === 0 && of('waiting', 'sending').length === 0) phase.value = 'done'
  }

  async function sendOne(item: Item) {
    item.state.value = 'sending'
    const sending = send(item.file, {
      endpoint,
      url: item.url,
      metadata: item.metadata ?? metadata(),
      onProgress(bytes) {
        item.sent.value = bytes
        if (bytes === 0 || !isOffline.value) return
        isOffline.value = false
        fill()
      },
      onUrl(url) {
        item.url = url
        void stored.savePending(pendingOf(item))
      },
    })
    item.sending = sending
    const outcome = await sending.outcome
    if (item.sending !== sending) return // it was stopped
    item.sending = undefined
    if (outcome.kind === 'lost') return retryLater(item)
    wait = 0
    isOffline.value = false
    void stored.deletePending(item.id)
    if (outcome.kind === 'arrived') await arrive(item, outcome)
    else refuse(item, outcome)
    fill()
  }

  const pendingOf = ({ id, name, size, lastModified, at, url, metadata }: Item): stored.PendingFile => ({
    id,
    link,
    name,
    size,
    lastModified,
    at,
    ...(metadata && { metadata }),
    ...(url !== undefined && { url }),
  })

  async function retryLater(item: Item) {
    item.state.value = 'waiting'
    item.isRepeated = true
    wait = Math.min(MAX_WAIT_MS, wait === 0 ? 500 : wait * 2)
    // One failure may be an accident of one request.
    if (wait > 500 || !navigator.onLine) isOffline.value = true
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, wait)
      const before = wakeUp
      wakeUp = () => {
        clearTimeout(timer)
        resolve()
        before()
      }
    })
    fill()
  }

  async function arrive(item: Item, { imageId, duplicate }: { imageId: string; duplicate: boolean }) {
    item.state.value = duplicate && !item.isRepeated ? 'duplicate' : 'arrived'
    item.imageId = imageId
    if (item.preview.value === '') void showVariant(item)
    const preview = previews.get(item.id)
    const picture = {
      id: item.id,
      link,
      name: item.name,
      at: Date.now(),
      imageId,
      ...(preview && { preview }),
    }
    await stored.saveSent(picture)
    sent.value = [...sent.value, picture]
  }

  function refuse(item: Item, { reason, ends }: { reason: string; ends: boolean }) {
    batch(() => {
      item.state.value = 'refused'
      item.reason.value = reason
      if (!ends) return
      for (const other of of('waiting', 'sending')) {
        if (other.sending) stop(other)
        other.state.value = 'refused'
        other.reason.value = reason
      }
    })
  }

  const previews = new Map<string, Blob>()

  /** Makes the small picture of a file. */
  async function showPreview(item: Item) {
    if (item.preview.value !== undefined || previews.has(item.id)) return
    const blob = await makePreview(item.file)
    if (blob) previews.set(item.id, blob)
    item.preview.value = blob ? URL.createObjectURL(blob) : ''
    if (!blob) void showVariant(item)
  }

  /** Shows the picture that the service has made. */
  async function showVariant(item: Item) {
    if (item.imageId === '') return
    const url = imageUrl(item.imageId)
    for (const wait of VARIANT_WAITS_MS) {
      await new Promise((resolve) => setTimeout(resolve, wait))
      const response = await fetch(url).catch(() => undefined)
      if (response?.ok) {
        item.preview.value = URL.createObjectURL(await response.blob())
        return
      }
      if (response && response.status < 500) return
    }
  }

  let samples: { at: number; bytes: number }[] = []

  /** Measures the speed while files are sent. */
  function tick() {
    const now = performance.now()
    samples = [
      ...samples.filter(({ at }) => now - at < SPEED_WINDOW_MS),
      { at: now, bytes: totals.value.sentBytes },
    ]
    const [first] = samples
    const elapsed = now - first!.at
    speed.value =
      elapsed < TICK_MS ? 0 : Math.max(0, ((totals.value.sentBytes - first!.bytes) / elapsed) * 1000)
    if (phase.value === 'sending') setTimeout(tick, TICK_MS)
    else samples = []
  }

  /**
   * Continues what an earlier visit of this page has left. Files that were chosen and not sent are only shown again.
   * Returns the sender's name and message of that visit, if it was sending.
   */
  async function restore() {
    sent.value = await stored.readSent(link)
    if (!(await isOnlyPage(link))) return undefined
    await stored.deleteOld(Date.now() - KEPT_MS)
    const shown = new Set(items.value.map(({ id }) => id))
    const pending = (await stored.readPending(link)).filter(({ id }) => !shown.has(id))
    const files = await Promise.all(pending.map(({ id }) => stored.readFile(id)))
    const complete = pending.flatMap((each, n) => (files[n] ? [toItem(files[n], each)] : []))
    items.value = [...items.value, ...complete.sort((a, b) => a.at - b.at)]
    lost.value = pending.filter((_, n) => !files[n])
    const begun = complete.find(({ metadata }) => metadata)
    if (!begun) return undefined
    wasRestored.value = true
    start()
    return begun.metadata
  }

  function reset() {
    for (const { preview } of items.value) if (preview.value) URL.revokeObjectURL(preview.value)
    items.value = []
    phase.value = 'choosing'
    wasRestored.value = false
  }

  addEventListener('online', () => {
    wait = 0
    wakeUp()
    wakeUp = () => {}
  })

  return {
    items,
    phase,
    isOffline,
    wasRestored,
    lost,
    speed,
    sent,
    totals,
    of,
    add,
    remove,
    start,
    pause,
    retry,
    restore,
    showPreview,
    /** Whether this browser has a copy of each file. */
    isKept: () => isKept,
    async forget() {
      await stored.forgetSent(link)
      sent.value = []
    },
    reset,
    imageUrl,
  }
}

export type Queue = ReturnType<typeof createQueue>

export const isOver = (state: State) => state !== 'waiting' && state !== 'sending'

const fingerprint = ({ name, size, lastModified }: Pick<File, 'name' | 'size' | 'lastModified'>) =>
  `${size} ${lastModified} ${name}`

// The service decides by the bytes. Only files that are certainly no pictures are left out, for example of a folder.
const mayBePicture = ({ type, name, size }: File) =>
  size > 0 &&
  !name.startsWith('.') &&
  (type.startsWith('image/') ||
    type === '' ||
    type === 'application/octet-stream' ||
    /\.(hei[cf]|avif|jxl|jp2|dng|cr[23]|nef|arw|orf|rw2|raf|psd|tiff?)$/i.test(name))

const newId = () => {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('')
}

/** Whether no other tab has this link open: then its unfinished files are not being sent now. */
function isOnlyPage(link: string): Promise<boolean> {
  if (!('locks' in navigator)) return Promise.resolve(true)
  return new Promise((resolve) => {
    navigator.locks
      // After a reload, the browser may release the lock of the page before only now.
      .request(`hasty ${link}`, { signal: AbortSignal.timeout(LOCK_WAIT_MS) }, () => {
        resolve(true)
        // The lock is held as long as the page is open.
        return new Promise(() => {})
      })
      .catch(() => resolve(false))
  })
}
