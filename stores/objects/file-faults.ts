import { StoreUnavailable } from '../unavailable.ts'
import { StoreFull } from './object-store.ts'

const FULL = new Set(['ENOSPC', 'EDQUOT'])
/** The disk fails, is read-only, not mounted or not accessible; or the process has no file descriptors left. */
const UNAVAILABLE = new Set([
  'EIO',
  'EROFS',
  'EACCES',
  'EPERM',
  'ENOENT',
  'ENOTDIR',
  'ESTALE',
  'ENODEV',
  'EMFILE',
  'ENFILE',
])

export const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? ''

export const isMissing = (error: unknown) => codeOf(error) === 'ENOENT'

/** The error of a store's call for an error of the file system. */
export function toStoreFault(error: unknown) {
  if (FULL.has(codeOf(error))) return new StoreFull('The object store is full.', { cause: error })
  return UNAVAILABLE.has(codeOf(error))
    ? new StoreUnavailable('object store', { cause: error }, `can't be used (${codeOf(error)})`)
    : error
}
