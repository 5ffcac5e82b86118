import { type Static, type TSchema, Type } from 'typebox'

/** How many items a page has where nothing is said. */
export const PAGE_LIMIT = 50

/** The query of a list that is read page by page, by keyset: newest first, each page begins after the last item before. */
export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 500, default: PAGE_LIMIT, description: 'items on a page' }),
  ),
  cursor: Type.Optional(
    Type.String({
      maxLength: 200,
      description: '`nextCursor` of the page before; absent for the first page',
    }),
  ),
}

export const PageQuery = Type.Object(pageQuery, { additionalProperties: false })
export type PageQuery = Static<typeof PageQuery>

export const page = <Item extends TSchema>(item: Item) =>
  Type.Object(
    {
      items: Type.Array(item),
      nextCursor: Type.Optional(
        Type.String({ description: 'where the next page begins; absent on the last page' }),
      ),
    },
    { description: 'a page, newest first' },
  )
