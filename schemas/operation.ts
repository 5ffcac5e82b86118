import { type Static, Type } from 'typebox'
import { ImageStatus } from './images.ts'
import { SweepSummary } from './sweeps.ts'

export const Operation = Type.Object(
  {
    version: Type.String({ description: 'The version of Hasty.', examples: ['0.1.0'] }),
    node: Type.String({ description: 'The version of Node.', examples: ['24.21.0'] }),
    queue: Type.Optional(
      Type.Object({
        waiting: Type.Integer({ minimum: 0, description: 'Images that wait for a worker.' }),
        oldestSeconds: Type.Optional(
          Type.Integer({ minimum: 0, description: 'For how long the first of them has waited.' }),
        ),
      }),
    ),
    images: Type.Optional(
      Type.Array(Type.Object({ status: ImageStatus, count: Type.Integer({ minimum: 0 }) }), {
        description: 'The number of images that need attention, by status.',
      }),
    ),
    lastSweep: Type.Optional(
      Type.Object({ finishedAt: Type.String({ format: 'date-time' }), summary: Type.Partial(SweepSummary) }),
    ),
    unreachable: Type.Array(Type.String(), {
      description: 'A sentence about each store that cannot be used now.',
    }),
  },
  {
    $id: 'Operation',
    description: 'The state of the service. Parts that need the database are absent while it is unreachable.',
  },
)
export type Operation = Static<typeof Operation>
