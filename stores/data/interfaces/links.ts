import type { PageOf, PageRequest } from '../keyset.ts'

/** A row of `links`. */
export interface LinkRow {
  id: string
  label: string | null
  /** The region whose object store keeps the link's images; empty if the service has no regions. */
  region: string
  maxImages: number | null
  maxBytes: number | null
  /** Whether the images that arrive by the link are private. */
  private: boolean
  /** Whether the images that arrive by the link are served without their metadata. */
  stripMetadata: boolean
  description: string | null
  /** The accepted media types, separated by commas; null: all that the service accepts. */
  accept: string | null
  /** Bytes of one file. */
  maxFileSize: number | null
  /** Before this time, nothing is accepted. */
  opensAt: Date | null
  passwordHash: string | null
  askSender: 'no' | 'optional' | 'required'
  /** Only counted for a link with a limit. */
  usedImages: number
  usedBytes: number
  createdAt: Date
  expiresAt: Date
  revokedAt: Date | null
}

/** The fields of a new link. */
export type NewLinkRow = Pick<LinkRow, 'id' | 'label' | 'region' | 'maxImages' | 'maxBytes' | 'expiresAt'> &
  Partial<Pick<LinkRow, LinkOption>>

/** The columns of `links` that have a default value. */
export type LinkOption =
  | 'private'
  | 'stripMetadata'
  | 'description'
  | 'accept'
  | 'maxFileSize'
  | 'opensAt'
  | 'passwordHash'
  | 'askSender'

/** The columns that change. The others keep their values. */
export type LinkChanges = Partial<Omit<NewLinkRow, 'id' | 'region'>>

/** The uploads by a link. */
export interface LinkCounts {
  uploads: number
  bytes: number
}

/** Whether the database counts the images of a link in its row. Only uploads by a limited link wait for that row. */
export const isLimited = ({ maxImages, maxBytes }: Pick<LinkRow, 'maxImages' | 'maxBytes'>) =>
  maxImages !== null || maxBytes !== null

export interface LinkStore {
  /** Adds a link. Rejects if there is one with the same id. */
  insert(link: NewLinkRow): Promise<LinkRow>

  find(id: string): Promise<LinkRow | undefined>

  findWithCounts(id: string): Promise<(LinkRow & LinkCounts) | undefined>

  /** All links, newest first; or those that have `text` in their label or description in any case, or as their id. */
  page(request: PageRequest & { text?: string | undefined }): Promise<PageOf<LinkRow & LinkCounts>>

  /** The links with the most uploaded bytes, most first. */
  largest(limit: number): Promise<(Pick<LinkRow, 'id' | 'label'> & LinkCounts)[]>

  /**
   * Changes a link that is not revoked. A link that gets its first limit counts its earlier uploads too. Undefined if
   * there is none with this id, or it is revoked.
   */
  update(id: string, changes: LinkChanges): Promise<(LinkRow & LinkCounts) | undefined>

  /** Closes a link for ever. False if there is none with this id. A second call changes nothing. */
  revoke(id: string): Promise<boolean>
}
