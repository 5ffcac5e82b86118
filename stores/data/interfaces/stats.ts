import type { StorageLocation } from '../../storage-location.ts'

export interface UploadCount {
  key: string
  uploads: number
  bytes: number
}

/** The images in a storage location, and their bytes. */
export interface StoredCount extends StorageLocation {
  images: number
  bytes: number
}

/** Reads the counts. Their number does not grow with the number of uploads. */
export interface StatsStore {
  /** The formats or the camera models (empty: unknown) with the most uploads, most first. */
  top(kind: 'format' | 'model', limit: number): Promise<UploadCount[]>

  /** The days in UTC that have uploads, newest first: of the `days` days that end with `last`, such as 2026-11-01. */
  days(last: string, days: number): Promise<UploadCount[]>

  /** The images that are not removed, and their bytes, by storage location. */
  stored(): Promise<StoredCount[]>
}
