import { fdatasyncSync, readFileSync } from 'node:fs'
import { PGlite } from '@electric-sql/pglite'
import { NodeFS } from '@electric-sql/pglite/nodefs'

// By default PGlite never flushes: it starts PostgreSQL with fsync off, and Emscripten's NODEFS has no `fsync`. This file
// replaces private parts of this version of the package.
const VERSION = '0.5.14'

/** The part of Emscripten's file systems that this file uses. */
interface Emscripten {
  FS: { filesystems: { NODEFS: { stream_ops: { fsync?: (stream: { nfd: number }) => number } } } }
}

/**
 * The files of an embedded database, in a folder on disk. When PostgreSQL flushes a file or a folder, its bytes are on
 * the disk when the call returns. If the disk fails, the call throws, and PostgreSQL ends.
 */
export class DurableFiles extends NodeFS {
  override async init(...parameters: Parameters<NodeFS['init']>) {
    const { emscriptenOpts } = await super.init(...parameters)
    const addFsync = (module: unknown) => {
      const { NODEFS } = (module as Emscripten).FS.filesystems
      NODEFS.stream_ops.fsync = ({ nfd }) => {
        fdatasyncSync(nfd)
        return 0
      }
    }
    return { emscriptenOpts: { ...emscriptenOpts, preRun: [addFsync, ...(emscriptenOpts.preRun ?? [])] } }
  }
}

/** PGlite's start parameters, without `-F` (no flushes). `fdatasync`, the default on Linux, does nothing in Emscripten. */
export const DURABLE_START = [
  ...PGlite.defaultStartParams.filter((parameter) => parameter !== '-F'),
  ...['-c', 'fsync=on', '-c', 'wal_sync_method=fsync', '-c', 'full_page_writes=on'],
]

/** @throws if the installed PGlite is another version than the one whose private parts are replaced */
export function assertPgliteVersion() {
  const file = new URL('../package.json', import.meta.resolve('@electric-sql/pglite'))
  const { version } = JSON.parse(readFileSync(file, 'utf8')) as { version: string }
  if (version !== VERSION)
    throw new Error(
      `@electric-sql/pglite is version ${version}, but the embedded database needs exactly ${VERSION}. Run npm ci.`,
    )
}
