import { createVerify } from '../../services/lifecycle/verify.ts'
import type { Command } from '../command.ts'
import { log, withStores } from '../local.ts'
import { bytes, CommandError, count, createProgress, EXIT, pairs, plural, print } from '../output.ts'

const MIB = 2 ** 20

export const verify: Command = {
  command: 'verify',
  describe: 'Read each stored object, on this machine, and compare its SHA-256',
  examples: [['hasty verify --rate 200', 'read at most 200 MiB per second']],
  options: (yargs) =>
    yargs.option('rate', { type: 'number', describe: 'MiB per second; VERIFY_RATE by default' }),
  async run(options) {
    const progress = createProgress()
    const state = await withStores(
      async ({ config, stores, signal }) => {
        const total = await stores.data.lifecycle.count()
        return createVerify({ stores, log, config }).pass({
          signal,
          ...(options.rate && { rate: options.rate * MIB }),
          onProgress: ({ images, bytes: read }) =>
            progress.show(`${count(images)} of ${plural(total, 'image')}, ${bytes(read)}`),
        })
      },
      { action: 'verify' },
    ).finally(progress.end)
    if (!state)
      throw new CommandError(
        'Another process is verifying now. Its result will be in its log.',
        EXIT.unreachable,
      )
    const faults = state.mismatches + state.missing
    const { after: _, afterVariant: _key, ...result } = state
    print(options, result, () => {
      const counts = pairs([
        ['Images', count(state.images)],
        ['Read', bytes(state.bytes)],
        ['Damaged', count(state.mismatches)],
        ['Missing', count(state.missing)],
        ['Restored', `${count(state.restored)} from the other tier`],
        ['Repaired', `${count(state.recovered)} since the last pass`],
        [
          'Variants',
          `${count(state.variants)}, of which ${count(state.removedVariants)} were damaged and removed`,
        ],
      ])
      return faults === 0
        ? `${counts}\n\nAll objects are intact.`
        : `${counts}\n\nhasty images list --fault mismatch (or missing) lists these images.`
    })
    return faults === 0 ? EXIT.done : EXIT.partly
  },
}
