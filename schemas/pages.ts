import { type Static, type TSchema, Type } from 'typebox'

/** Items on a page by default. */
export const PAGE_LIMIT = 50

/** The query of a list that is read in pages: newest first, each page starts after the last item of the one before. */
export const pageQuery = {
  limit: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 500,
      default: PAGE_LIMIT,
      description: 'The number of items on a page.',
    }),
  ),
  cursor: Type.Optional(
    Type.String({
      maxLength: 200,
      description: '`nextCursor` of the previous page. Omit it for the first page.',
    }),
  ),
}

export const PageQuery = Type.Object(pageQuery, { additionalProperties: false })
export type PageQuery = Static<typeof PageQuery>

export const page = <Item extends TSchema>(item: Item, { $id }: { $id: string }) =>
  Type.Object(
    {
      items: Type.Array(item),
      nextCursor: Type.Optional(
        Type.String({ description: 'The `cursor` of the next page. Absent on the last page.' }),
      ),
    },
    { $id, description: 'One page, newest first.' },
  )
