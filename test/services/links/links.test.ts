import t from 'tap'
import { createCache } from '../../../services/cache.ts'
import { createLinks } from '../../../services/links/index.ts'
import type { DataStore } from '../../../stores/data/data-store.ts'
import type { LinkRow } from '../../../stores/data/interfaces/links.ts'

const row: LinkRow = {
  id: 'a'.repeat(48),
  label: null,
  region: '',
  maxImages: null,
  maxBytes: null,
  private: false,
  stripMetadata: false,
  description: null,
  accept: null,
  maxFileSize: null,
  opensAt: null,
  passwordHash: null,
  askSender: 'no',
  usedImages: 0,
  usedBytes: 0,
  createdAt: new Date(),
  expiresAt: new Date(Date.now() + 3_600_000),
  revokedAt: null,
}

t.test('a revoked link is closed at once, also during a look-up', async (t) => {
  // The order of two answers of a database can't be had from a real one.
  let revokedAt: Date | null = null
  const lookups: ((row: LinkRow) => void)[] = []
  const data = {
    links: {
      find: () => new Promise<LinkRow>((resolve) => lookups.push(resolve)),
      async revoke() {
        revokedAt = new Date()
        return true
      },
    },
  } as unknown as DataStore
  const links = createLinks({
    data,
    regions: [''],
    cache: createCache<LinkRow>({ capacity: 10, ttl: 60_000 }),
  })

  const opening = links.requireOpen(row.id)
  const found = { ...row, revokedAt }
  await links.revoke(row.id)
  lookups[0]!(found)
  t.equal((await opening).id, row.id, 'an upload before the revoke is accepted')

  const next = links.requireOpen(row.id)
  t.equal(lookups.length, 2, 'the row from before is not remembered')
  lookups[1]!({ ...row, revokedAt })
  await t.rejects(next, { name: 'LinkRevoked' })
})
