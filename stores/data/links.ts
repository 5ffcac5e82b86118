import { isLimited, type LinkCounts, type LinkRow, type LinkStore } from './interfaces/links.ts'
import { afterKeyset, toPage } from './keyset.ts'
import { containing, type Database } from './sql.ts'
import { once, repeatable, type StoreCalls } from './store-call.ts'

const columns = `
  id, label, region, max_images, max_bytes, private, strip_metadata, description, accept, max_file_size, opens_at,
  password_hash, ask_sender, used_images, used_bytes, created_at, expires_at, revoked_at`

export function createLinks(sql: Database): StoreCalls<LinkStore> {
  const counts = sql`
    select coalesce(sum(uploads), 0)::bigint as uploads, coalesce(sum(bytes), 0)::bigint as bytes
    from upload_counts where kind = 'link' and key = links.id`

  return {
    insert: once(async (link) => {
      const [row] = await sql<LinkRow[]>`
        insert into links (
          id, label, region, max_images, max_bytes, expires_at, private, strip_metadata,
          description, accept, max_file_size, opens_at, password_hash, ask_sender
        ) values (
          ${link.id}, ${link.label}, ${link.region}, ${link.maxImages}, ${link.maxBytes}, ${link.expiresAt},
          ${link.private ?? false}, ${link.stripMetadata ?? false},
          ${link.description ?? null}, ${link.accept ?? null}, ${link.maxFileSize ?? null}, ${link.opensAt ?? null},
          ${link.passwordHash ?? null}, ${link.askSender ?? 'no'}
        )
        returning ${sql.unsafe(columns)}`
      return row!
    }),

    find: repeatable(async (id) => {
      const [row] = await sql<LinkRow[]>`select ${sql.unsafe(columns)} from links where id = ${id}`
      return row
    }),

    findWithCounts: repeatable(async (id) => {
      const [row] = await sql<(LinkRow & LinkCounts)[]>`
        select ${sql.unsafe(columns)}, counts.* from links, lateral (${counts}) as counts where id = ${id}`
      return row
    }),

    page: repeatable(async ({ text, ...request }) => {
      const found =
        text === undefined
          ? sql``
          : sql`and (label ilike ${containing(text)} or description ilike ${containing(text)} or id = ${text})`
      const rows = await sql<(LinkRow & LinkCounts)[]>`
        select ${sql.unsafe(columns)}, counts.* from links, lateral (${counts}) as counts
        where ${afterKeyset(sql, 'created_at', request)} ${found}
        order by created_at desc, id desc limit ${request.limit + 1}`
      return toPage(rows, request, (row) => row.createdAt)
    }),

    largest: repeatable(
      (limit) => sql<(Pick<LinkRow, 'id' | 'label'> & LinkCounts)[]>`
        select links.id, label, counts.uploads, counts.bytes
        from (
          select key, sum(uploads)::bigint as uploads, sum(bytes)::bigint as bytes
          from upload_counts where kind = 'link' group by key order by bytes desc, key limit ${limit}
        ) as counts join links on links.id = counts.key order by counts.bytes desc, links.id`,
    ),

    update: repeatable((id, changes) =>
      sql.begin(async (sql) => {
        const [before] = await sql<(LinkRow & LinkCounts)[]>`
          select ${sql.unsafe(columns)} from links where id = ${id} and revoked_at is null for update`
        if (!before) return undefined
        const [totals] = await sql<LinkCounts[]>`
          select coalesce(sum(uploads), 0)::bigint as uploads, coalesce(sum(bytes), 0)::bigint as bytes
          from upload_counts where kind = 'link' and key = ${id}`
        const link = { ...before, ...changes }
        // Without a limit, uploads are not counted in the link's row.
        const used = isLimited(before)
          ? { images: before.usedImages, bytes: before.usedBytes }
          : { images: totals!.uploads, bytes: totals!.bytes }
        const [after] = await sql<LinkRow[]>`
          update links set
            label = ${link.label}, max_images = ${link.maxImages}, max_bytes = ${link.maxBytes},
            used_images = ${used.images}, used_bytes = ${used.bytes}, expires_at = ${link.expiresAt},
            private = ${link.private}, strip_metadata = ${link.stripMetadata}, description = ${link.description},
            accept = ${link.accept}, max_file_size = ${link.maxFileSize}, opens_at = ${link.opensAt},
            password_hash = ${link.passwordHash}, ask_sender = ${link.askSender}
          where id = ${id} returning ${sql.unsafe(columns)}`
        return { ...after!, ...totals! }
      }),
    ),

    revoke: repeatable(async (id) => {
      const rows = await sql`
        update links set revoked_at = coalesce(revoked_at, now()) where id = ${id} returning id`
      return rows.length > 0
    }),
  }
}
