import { AUDIT_FOR_MS } from '../access/audit.ts'
import { LIMIT, type SweepContext } from './sweep-context.ts'

/** Deletes entries of the audit log that are older than a year. */
export async function forgetAudit({ stores, dryRun, summary }: SweepContext) {
  const { audit } = stores.data
  const old = { milliseconds: AUDIT_FOR_MS, limit: LIMIT }
  summary.auditEntries += await (dryRun ? audit.countOld(old) : audit.forget(old))
}
