import type { Image, Page } from './api.ts'

/** What the gallery shows of an image. The rest of its data is not kept. */
export type ShownImage = Pick<Image, 'id' | 'status' | 'format' | 'receivedAt' | 'placeholder'>

/** Images of one page of the API. */
export const PAGE = 100
/** Pages whose images are kept. Of the others only the cursor is kept, so that the memory does not grow with the images. */
const KEPT_PAGES = 8

export type Pages = ReturnType<typeof createPages>

const toShown = ({ id, status, format, receivedAt, placeholder }: Image): ShownImage => ({
  id,
  status,
  format,
  receivedAt,
  ...(placeholder && { placeholder }),
})

/** A list that is read in pages with cursors. It forgets pages that were used least recently, and reads them again. */
export function createPages(read: (cursor: string | undefined) => Promise<Page<Image>>) {
  const cursors: (string | undefined)[] = [undefined]
  const kept = new Map<number, ShownImage[]>()
  let count = 0
  let isComplete = false
  let loading: Promise<boolean> | undefined

  async function load(page: number) {
    const { items, nextCursor } = await read(cursors[page])
    kept.set(page, items.map(toShown))
    if (page === cursors.length - 1) {
      count += items.length
      if (nextCursor) cursors.push(nextCursor)
      else isComplete = true
    }
  }

  function forget(from: number, to: number) {
    for (const page of kept.keys()) {
      if (kept.size <= KEPT_PAGES) return
      if (page < from || page > to) kept.delete(page)
    }
  }

  async function loadMissing(start: number, end: number) {
    const from = Math.floor(start / PAGE)
    const to = Math.floor(end / PAGE)
    let hasChanged = false
    for (let page = from; page <= to && page < cursors.length; page++) {
      if (kept.has(page)) {
        // Used most recently: it moves to the end.
        const items = kept.get(page)!
        kept.delete(page)
        kept.set(page, items)
      } else if (page < cursors.length - 1 || !isComplete) {
        await load(page)
        hasChanged = true
      }
    }
    forget(from, to)
    return hasChanged
  }

  return {
    /** How many images are known so far. */
    get count() {
      return count
    },
    /** Whether there are no more. */
    get isComplete() {
      return isComplete
    },
    /** Reads the pages of a range, one after the other. Resolves with whether something was read. */
    async require(start: number, end: number): Promise<boolean> {
      while (loading) await loading.catch(() => {})
      loading = loadMissing(start, end)
      try {
        return await loading
      } finally {
        loading = undefined
      }
    },
    /** The images of a range. An image that is not kept is undefined. */
    slice(start: number, end: number) {
      const indexes = Array.from({ length: Math.max(0, Math.min(end, count) - start) }, (_, n) => start + n)
      return indexes.map((index) => ({ index, image: kept.get(Math.floor(index / PAGE))?.[index % PAGE] }))
    },
  }
}
