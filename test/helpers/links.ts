import { newId } from '../../services/ids.ts'
import type { LinkRow } from '../../stores/data/interfaces/links.ts'

/** The values of a new link that is open for an hour, for tests of stores. */
export const newLink = (limits: Partial<Pick<LinkRow, 'maxImages' | 'maxBytes' | 'expiresAt'>> = {}) => ({
  id: newId(),
  label: null,
  region: '',
  maxImages: null,
  maxBytes: null,
  expiresAt: new Date(Date.now() + 3_600_000),
  ...limits,
})
