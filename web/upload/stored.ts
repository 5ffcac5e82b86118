/** What this browser keeps about a link: the files that were not sent completely, and the pictures that arrived. */

/** A file that is not sent yet. */
export interface PendingFile {
  id: string
  link: string
  name: string
  size: number
  lastModified: number
  /** When it was chosen, in milliseconds since 1970. */
  at: number
  /** The sender's name and message. Without it, the person has not pressed "send" yet. */
  metadata?: Record<string, string>
  /** Where its upload continues. */
  url?: string
}

/** A picture that arrived. */
export interface SentPicture {
  id: string
  link: string
  name: string
  at: number
  /** Empty if the response of the service was lost. */
  imageId: string
  preview?: Blob
}

const NAME = 'hasty'
// The part of the free space that copies of files may take.
const SHARE = 0.5
const WITHOUT_ESTIMATE = 500e6

let opened: Promise<IDBDatabase> | undefined

function open() {
  opened ??= new Promise((resolve, reject) => {
    const request = indexedDB.open(NAME, 1)
    request.onupgradeneeded = () => {
      for (const name of ['pending', 'files', 'sent'])
        request.result.createObjectStore(name, { keyPath: 'id' }).createIndex('link', 'link')
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  return opened
}

// The files are separate, so that a change of a record does not copy a file again.
type StoreName = 'pending' | 'files' | 'sent'

async function run<T>(
  name: StoreName,
  mode: IDBTransactionMode,
  work: (store: IDBObjectStore) => IDBRequest<T>,
) {
  const database = await open()
  return new Promise<T>((resolve, reject) => {
    const transaction = database.transaction(name, mode)
    const request = work(transaction.objectStore(name))
    transaction.oncomplete = () => resolve(request.result)
    transaction.onabort = () => reject(transaction.error)
  })
}

// A browser in private mode may refuse all of this. Then nothing is kept, and the page still works.
const ignore = () => undefined

export const readPending = (link: string): Promise<PendingFile[]> =>
  run('pending', 'readonly', (store) => store.index('link').getAll(link)).catch(() => [])

export const savePending = (file: PendingFile) =>
  run('pending', 'readwrite', (store) => store.put(file)).catch(ignore)

/** Keeps a copy of a file. Returns whether there was room for it. */
export const saveFile = (copy: { id: string; link: string; file: File }) =>
  run('files', 'readwrite', (store) => store.put(copy)).then(
    () => true,
    () => false,
  )

export const readFile = (id: string): Promise<File | undefined> =>
  run<{ file: File } | undefined>('files', 'readonly', (store) => store.get(id)).then(
    (copy) => copy?.file,
    ignore,
  )

export async function deletePending(id: string) {
  for (const name of ['pending', 'files'] as const)
    await run(name, 'readwrite', (store) => store.delete(id)).catch(ignore)
}

/** Deletes the files of all links that were chosen before a time. Their links have probably expired. */
export async function deleteOld(before: number) {
  const all = await run<PendingFile[]>('pending', 'readonly', (store) => store.getAll()).catch(() => [])
  for (const { id, at } of all) if (at < before) await deletePending(id)
}

/** The pictures in the order in which they arrived. */
export const readSent = (link: string) =>
  run<SentPicture[]>('sent', 'readonly', (store) => store.index('link').getAll(link)).then(
    (pictures) => pictures.sort((a, b) => a.at - b.at),
    () => [],
  )

export const saveSent = (picture: SentPicture) =>
  run('sent', 'readwrite', (store) => store.put(picture)).catch(ignore)

export async function forgetSent(link: string) {
  for (const { id } of await readSent(link))
    await run('sent', 'readwrite', (store) => store.delete(id)).catch(ignore)
}

/** How many bytes of files may be copied now. */
export async function freeBytes() {
  try {
    const { quota = 0, usage = 0 } = await navigator.storage.estimate()
    return (quota - usage) * SHARE
  } catch {
    return WITHOUT_ESTIMATE
  }
}
