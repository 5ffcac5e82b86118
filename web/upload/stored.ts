/** What this browser keeps about a link: the files that were not sent completely, and the pictures that arrived. */

/** A file that is not sent yet. */
export interface PendingFile {
  id: string
  link: string
  name: string
  size: number
  lastModified: number
  /** The file itself, if there was room for a copy. */
  file?: File
  /** Where its upload continues. */
  url?: string
}

/** A picture that arrived. */
export interface SentPicture {
  id: string
  link: string
  name: string
  at: number
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
      for (const name of ['pending', 'sent'])
        request.result.createObjectStore(name, { keyPath: 'id' }).createIndex('link', 'link')
    }
    request.onsuccess = () => resolve(request.result)
    request.onerror = () => reject(request.error)
  })
  return opened
}

type StoreName = 'pending' | 'sent'

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

export const deletePending = (id: string) =>
  run('pending', 'readwrite', (store) => store.delete(id)).catch(ignore)

export const readSent = (link: string): Promise<SentPicture[]> =>
  run('sent', 'readonly', (store) => store.index('link').getAll(link)).catch(() => [])

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
