import type { Test } from 'tap'
import { HEAD_BYTES, sniff } from '../../formats/detect.ts'
import { createDecoder } from '../../services/analysis/sandbox/decoder.ts'
import { detectSandbox, type Sandbox } from '../../services/analysis/sandbox/levels.ts'

// A busy machine takes seconds to start a process.
const PATIENCE_MS = 60_000

/** Starts a sandboxed decoder like a worker, and ends it with the test. */
export function openDecoder(
  t: Test,
  { memory = 2 ** 30, sandbox = detectSandbox() }: { memory?: number; sandbox?: Promise<Sandbox> } = {},
) {
  const decoder = createDecoder('examine', { sandbox, memory })
  t.teardown(() => decoder.close())
  return {
    ...decoder,
    async examine(file: Buffer, milliseconds = PATIENCE_MS) {
      const format = await sniff(file.subarray(0, HEAD_BYTES))
      return decoder.run(format!, [file], { milliseconds })
    },
  }
}
