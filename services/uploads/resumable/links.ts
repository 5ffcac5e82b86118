import type { LinkRow } from '../../../stores/data/interfaces/links.ts'
import type { ResumableRow, ResumableStore } from '../../../stores/data/interfaces/resumable-uploads.ts'
import * as errors from '../../errors.ts'
import type { UploadRequest } from '../upload-request.ts'

/** The uploads whose beginnings a process remembers. */
const MAX_REMEMBERED = 1_000

/** The data that do not change while an upload is unfinished. */
type Beginning = Pick<ResumableRow, 'linkId' | 'startedAt'>

/** Decides whether a request may upload, before a byte is read. */
export type RequireLink = (request: UploadRequest, startedAt?: Date) => Promise<LinkRow>

/** Finds uploads and their links. */
export function createUploadLinks(resumable: ResumableStore, requireLink: RequireLink) {
  /** Unfinished uploads to which this process has appended. It saves a statement for each further piece. */
  const remembered = new Map<string, Beginning>()

  /** Finds an upload of the link of a request. @throws {UploadNotFound} */
  async function find({ linkId }: UploadRequest, id: string) {
    const row = await resumable.find(id)
    if (row?.linkId !== linkId) throw new errors.UploadNotFound()
    return row
  }

  /**
   * The link of an upload, if it still accepts bytes. Resolves with the upload itself if it already has its answer: reading
   * it needs no open link.
   *
   * @throws {UploadNotFound | LinkRevoked | LinkUsedUp}
   */
  async function openLinkOf(request: UploadRequest, id: string): Promise<LinkRow | ResumableRow> {
    const known = remembered.get(id)
    if (known?.linkId !== request.linkId) {
      const found = await find(request, id)
      return found.answer ? found : requireLink(request, found.startedAt)
    }
    try {
      return await requireLink(request, known.startedAt)
    } catch (error) {
      remembered.delete(id)
      const found = await find(request, id)
      if (found.answer) return found
      throw error
    }
  }

  function remember({ id, linkId, startedAt }: ResumableRow) {
    remembered.delete(id)
    remembered.set(id, { linkId, startedAt })
    const [oldest] = remembered.keys()
    if (remembered.size > MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest)
  }

  return { find, openLinkOf, remember }
}
