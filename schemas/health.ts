import { Type } from 'typebox'

export const Health = Type.Object(
  { status: Type.Literal('ok') },
  { $id: 'Health', description: 'The process can serve requests.' },
)
