/** The store that has an image's object. */
export interface StorageLocation {
  /** The name of the region; empty if the service has no regions. */
  region: string
  tier: Tier
}

/** `cold`: the store of archived images. `hot`: the store of all others. */
export type Tier = 'hot' | 'cold'
