import { setTimeout as sleep } from 'node:timers/promises'

const LIMIT_MS = 5_000

/** The response of /readyz when it has this status: it uses a result again for a second. */
export async function readiness(url: string, status: number) {
  for (const end = Date.now() + LIMIT_MS; ; await sleep(100)) {
    const answer = await fetch(`${url}/readyz`)
    if (answer.status === status) return answer
    if (Date.now() > end) throw new Error(`/readyz has the status ${answer.status} after 5 s, not ${status}`)
    await answer.text()
  }
}
