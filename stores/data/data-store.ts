import type { AuditStore } from './interfaces/audit.ts'
import type { DumpStore } from './interfaces/dump.ts'
import type { FailedLookupStore } from './interfaces/failed-lookups.ts'
import type { ImageLeaseStore } from './interfaces/image-leases.ts'
import type { ImageStore } from './interfaces/images.ts'
import type { InstallationStore } from './interfaces/installation.ts'
import type { JobStateStore } from './interfaces/job-state.ts'
import type { LifecycleStore } from './interfaces/lifecycle.ts'
import type { LinkStore } from './interfaces/links.ts'
import type { ResumableStore } from './interfaces/resumable-uploads.ts'
import type { SecretStore } from './interfaces/secrets.ts'
import type { SessionStore } from './interfaces/sessions.ts'
import type { StatsStore } from './interfaces/stats.ts'
import type { SweepStore } from './interfaces/sweeps.ts'
import type { TokenStore } from './interfaces/tokens.ts'
import type { UploadStore } from './interfaces/uploads.ts'
import type { VariantStore } from './interfaces/variants.ts'
import type { HeldLease } from './process-leases.ts'
import type { Database } from './sql.ts'

/**
 * The database: links, images (one row for each distinct content), uploads (one row for each accepted file) and counts.
 *
 * Every call is one statement or one transaction, and may throw `StoreUnavailable`: the database can't be reached, or did
 * not respond within ten seconds (calls of `lifecycle` have no such limit). Then a write may have happened or not. All
 * times are the database's, all durations are milliseconds, all sizes bytes.
 */
export interface DataStore {
  links: LinkStore
  images: ImageStore
  imageLeases: ImageLeaseStore
  uploads: UploadStore
  resumable: ResumableStore
  stats: StatsStore
  lifecycle: LifecycleStore
  sweeps: SweepStore
  tokens: TokenStore
  audit: AuditStore
  jobState: JobStateStore
  dump: DumpStore
  sessions: SessionStore
  failedLookups: FailedLookupStore
  installation: InstallationStore
  secrets: SecretStore
  variants: VariantStore

  /**
   * Runs `work` while no other process of the installation runs work of the same name. Resolves with undefined if another
   * process does.
   */
  withLease<Result>(
    name: string,
    work: (held: HeldLease) => Promise<Result>,
  ): Promise<{ result: Result } | undefined>

  /**
   * Resolves when the database responds and can be written to.
   *
   * @throws {StoreUnavailable} its message gives the reason
   */
  ping(): Promise<void>

  close(): Promise<void>

  /** The names of the migrations that were applied when the store was opened. */
  migrated: string[]

  /** The connections, for tests and benchmarks. */
  sql: Database
}
