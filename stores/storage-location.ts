/** Where an image's object lies. */
export interface StorageLocation {
  /** The name of the region whose store has it; empty where the service has no regions. */
  region: string
  tier: Tier
}

/** In which of a region's stores: what is archived is cold. */
export type Tier = 'hot' | 'cold'
