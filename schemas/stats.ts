import { type Static, Type } from 'typebox'

const uploads = Type.Integer({ minimum: 1 })

export const Stats = Type.Object(
  {
    popularFormat: Type.Optional(
      Type.Object(
        { format: Type.String({ examples: ['JPEG'] }), uploads },
        { description: 'the format of the most uploads; absent before the first' },
      ),
    ),
    top10CameraModels: Type.Array(
      Type.Object({
        model: Type.String({
          description: '`unknown` where the image names none',
          examples: ['iPhone 8 Plus'],
        }),
        uploads,
      }),
      { maxItems: 10, description: 'most uploads first' },
    ),
    uploadFrequency30Days: Type.Array(
      Type.Object({
        date: Type.String({ format: 'date-time', examples: ['2026-11-01T00:00:00Z'] }),
        uploads,
      }),
      { maxItems: 30, description: 'days in UTC, newest first; a day without uploads is left out' },
    ),
  },
  { description: 'what came in, duplicates included' },
)
export type Stats = Static<typeof Stats>
