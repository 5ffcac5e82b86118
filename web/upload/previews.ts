// Two at a time: a decoded picture of a phone takes 50 to 200 MB of memory.
const AT_ONCE = 2
const SIZE = 240
const MAX_BYTES = 60e6

const queue: (() => Promise<void>)[] = []
let running = 0

/** Makes a small picture of a file. Undefined if the browser cannot decode it. */
export function makePreview(file: Blob): Promise<Blob | undefined> {
  return new Promise((resolve) => {
    queue.push(async () => resolve(await shrink(file).catch(() => undefined)))
    next()
  })
}

function next() {
  if (running >= AT_ONCE) return
  const work = queue.shift()
  if (!work) return
  running++
  work().finally(() => {
    running--
    next()
  })
}

async function shrink(file: Blob) {
  if (file.size > MAX_BYTES) return undefined
  const bitmap = await createImageBitmap(file, { resizeWidth: SIZE, resizeQuality: 'medium' })
  const side = Math.min(bitmap.width, bitmap.height)
  const canvas = document.createElement('canvas')
  canvas.width = canvas.height = Math.min(SIZE, side)
  const [x, y] = [(bitmap.width - side) / 2, (bitmap.height - side) / 2]
  canvas.getContext('2d')!.drawImage(bitmap, x, y, side, side, 0, 0, canvas.width, canvas.height)
  bitmap.close()
  return new Promise<Blob | undefined>((resolve) => {
    canvas.toBlob((blob) => resolve(blob ?? undefined), 'image/webp', 0.75)
  })
}
