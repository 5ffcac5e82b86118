import { type Static, Type } from 'typebox'

const bytes = Type.Integer({ minimum: 0 })

/** What one object store has. */
export const StoreUse = Type.Object({
  region: Type.String({ description: 'Empty if the service has no regions.' }),
  tier: Type.Enum(['hot', 'cold']),
  objects: Type.Integer({ minimum: 0, description: 'Objects of images.' }),
  bytes,
  trashObjects: Type.Integer({ minimum: 0, description: 'Objects in the trash.' }),
  trashBytes: bytes,
  otherObjects: Type.Integer({ minimum: 0, description: 'Unfinished uploads and objects without an image.' }),
  otherBytes: bytes,
})
export type StoreUse = Static<typeof StoreUse>

export const StorageReport = Type.Object(
  {
    measuredAt: Type.Optional(
      Type.String({
        format: 'date-time',
        description: 'When the last sweep listed the stores. Absent before the first sweep.',
      }),
    ),
    stores: Type.Array(StoreUse, { description: 'The use of each object store at that time.' }),
    links: Type.Array(
      Type.Object({
        id: Type.String(),
        label: Type.Optional(Type.String()),
        uploads: Type.Integer({ minimum: 0 }),
        bytes,
      }),
      { maxItems: 100, description: 'The links with the most uploaded bytes, including duplicates.' },
    ),
  },
  { $id: 'StorageReport', description: 'The use of storage by tier, region and link.' },
)
export type StorageReport = Static<typeof StorageReport>
