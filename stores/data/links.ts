import { beyond, type PageRequest, toPage } from './keyset.ts'
import { columnList, type Sql } from './sql.ts'

/** A row of `links`, with what came in by it. */
export interface LinkRow {
  id: string
  label: string | null
  /** Where the bytes of what comes in by it are kept; empty where the service has no regions. */
  region: string
  maxImages: number | null
  maxBytes: number | null
  /** Counted only for a link with a limit. */
  usedImages: number
  usedBytes: number
  createdAt: Date
  expiresAt: Date
  revokedAt: Date | null
}

export interface LinkCounts {
  uploads: number
  bytes: number
}

const columns = columnList([
  'id',
  'label',
  'region',
  'max_images',
  'max_bytes',
  'used_images',
  'used_bytes',
  'created_at',
  'expires_at',
  'revoked_at',
])

export function createLinks(sql: Sql) {
  const counts = sql`
    select coalesce(sum(uploads), 0)::bigint as uploads, coalesce(sum(bytes), 0)::bigint as bytes
    from upload_counts where kind = 'link' and key = links.id`

  return {
    async insert(link: Pick<LinkRow, 'id' | 'label' | 'region' | 'maxImages' | 'maxBytes' | 'expiresAt'>) {
      const [row] = await sql<LinkRow[]>`
        insert into links (id, label, region, max_images, max_bytes, expires_at)
        values (${link.id}, ${link.label}, ${link.region}, ${link.maxImages}, ${link.maxBytes}, ${link.expiresAt})
        returning ${sql.unsafe(columns)}`
      return row!
    },

    async find(id: string): Promise<LinkRow | undefined> {
      const [row] = await sql<LinkRow[]>`select ${sql.unsafe(columns)} from links where id = ${id}`
      return row
    },

    async findWithCounts(id: string): Promise<(LinkRow & LinkCounts) | undefined> {
      const [row] = await sql<(LinkRow & LinkCounts)[]>`
        select ${sql.unsafe(columns)}, counts.* from links, lateral (${counts}) as counts where id = ${id}`
      return row
    },

    /** Newest first. */
    async page(request: PageRequest) {
      const rows = await sql<(LinkRow & LinkCounts)[]>`
        select ${sql.unsafe(columns)}, counts.* from links, lateral (${counts}) as counts
        where ${beyond(sql, 'created_at', request)}
        order by created_at desc, id desc limit ${request.limit + 1}`
      return toPage(rows, request, (row) => row.createdAt)
    },

    /** Closes the link for good; false where there is none. Revoking it again changes nothing. */
    async revoke(id: string): Promise<boolean> {
      const rows = await sql`
        update links set revoked_at = coalesce(revoked_at, now()) where id = ${id} returning id`
      return rows.length > 0
    },
  }
}
