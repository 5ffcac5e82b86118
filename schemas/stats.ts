import { type Static, Type } from 'typebox'

const uploads = Type.Integer({ minimum: 1 })
const bytes = Type.Integer({ minimum: 0, description: 'Uploaded bytes.' })

export const Stats = Type.Object(
  {
    popularFormat: Type.Optional(
      Type.Object(
        { format: Type.String({ examples: ['JPEG'] }), uploads },
        { description: 'The format with the most uploads. Absent before the first upload.' },
      ),
    ),
    topFormats: Type.Array(Type.Object({ format: Type.String({ examples: ['JPEG'] }), uploads, bytes }), {
      maxItems: 10,
      description: 'The formats with the most uploads, in descending order.',
    }),
    top10CameraModels: Type.Array(
      Type.Object({
        model: Type.String({
          description: '`unknown` if the images do not state a camera.',
          examples: ['iPhone 8 Plus'],
        }),
        uploads,
        bytes,
      }),
      { maxItems: 10, description: 'The models with the most uploads, in descending order.' },
    ),
    uploadFrequency30Days: Type.Array(
      Type.Object({
        date: Type.String({ format: 'date-time', examples: ['2026-11-01T00:00:00Z'] }),
        uploads,
        bytes,
      }),
      {
        maxItems: 30,
        description: 'Uploads per day in UTC, newest first. Days without uploads are omitted.',
      },
    ),
  },
  { $id: 'Stats', description: 'Statistics of all accepted uploads, including duplicates.' },
)
export type Stats = Static<typeof Stats>
