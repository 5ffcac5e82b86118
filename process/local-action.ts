import { hostname, userInfo } from 'node:os'
import { createAudit } from '../services/access/audit.ts'
import { ROOT } from '../services/access/principal.ts'
import type { DataStore } from '../stores/data/data-store.ts'

/** An action of an admin on a machine of the service. */
export interface LocalAction {
  action: string
  /** The options of the command. */
  query?: object | undefined
  /** As in a response of the API: 200 if it was done, 500 if it failed. */
  status: number
}

/** Records a command in the audit log. A command that was done is not turned into an error. */
export const recordLocalAction = (
  data: Pick<DataStore, 'audit'>,
  action: LocalAction,
  log: { error(context: object, message: string): void },
): Promise<void> =>
  createAudit(data)
    .record({ principal: { ...ROOT, name: `local:${user()}` }, address: hostname(), ...action })
    .catch((err) => log.error({ err }, 'the audit log could not be written'))

/** The name of the user. In a container the user may have a number and no name. */
function user() {
  try {
    return userInfo().username
  } catch {
    return String(process.getuid?.() ?? 'unknown')
  }
}
