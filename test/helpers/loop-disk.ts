import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const run = (command: string, ...parameters: string[]) => execFileSync(command, parameters, { stdio: 'pipe' })

/** An ext4 file system on a separate disk. Its bytes can be copied in the state after a power cut. */
export interface Disk {
  /** Where it is mounted. */
  folder: string
  /**
   * Copies the bytes that the disk has at this moment, and mounts the copy. Bytes that processes have written and not flushed are
   * not on it. Stop all processes that write to the disk before.
   */
  copy(): Disk
  /** Unmounts it, and deletes its bytes. All its files must be closed. */
  remove(): void
}

/** Makes a disk of 512 MiB in a loop device. */
export function makeDisk(): Disk {
  const home = makeHome()
  const image = join(home, 'image')
  writeFileSync(image, '')
  truncateSync(image, 512 * 1024 * 1024)
  run('mkfs.ext4', '-q', '-F', image)
  return mount(home)
}

/** The bytes of a disk are in memory, where a flush takes less time. */
function makeHome() {
  const home = mkdtempSync(join(tmpdir(), 'hasty-disk-'))
  run('mount', '-t', 'tmpfs', '-o', 'size=600m,mode=755', 'tmpfs', home) // PostgreSQL is another user
  return home
}

function mount(home: string): Disk {
  const image = join(home, 'image')
  const folder = join(home, 'mounted')
  mkdirSync(folder)
  // The kernel commits by itself only every five minutes. So only what a process has flushed is on the disk, and the copy
  // is not taken during a commit.
  run('mount', '-o', 'loop,commit=300', image, folder)
  return {
    folder,
    copy() {
      const other = makeHome()
      run('cp', '--sparse=always', image, join(other, 'image'))
      return mount(other)
    },
    remove() {
      // A process that was just killed may still hold a file for a moment: then the kernel unmounts when it is released.
      for (const path of [folder, home]) run('umount', '--lazy', path)
      rmSync(home, { recursive: true, force: true })
    },
  }
}

/** Why tests with loop devices are skipped; false if there are some. */
export function findLoopDevices(): string | false {
  try {
    makeDisk().remove()
    return false
  } catch {
    return 'loop devices cannot be mounted here'
  }
}
