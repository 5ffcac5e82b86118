import { SweepSummary } from '../../schemas/sweeps.ts'
import { createLifecycle } from '../../services/lifecycle/index.ts'
import type { Command } from '../command.ts'
import { log, withStores } from '../local.ts'
import { CommandError, count, EXIT, pairs, plural, print } from '../output.ts'

export const sweep: Command = {
  command: 'sweep',
  describe: 'Clean up once, on this machine, and report it in words',
  examples: [['hasty sweep --dry-run', 'change nothing, and report what would be changed']],
  options: (yargs) =>
    yargs
      .option('dry-run', { type: 'boolean', default: false, describe: 'change nothing' })
      .option('force', {
        type: 'boolean',
        default: false,
        describe: 'move orphans to the trash even if they are the majority',
      })
      .option('adopt', { type: 'boolean', default: false, describe: 'make images of orphans' }),
  async run(options) {
    const { 'dry-run': dryRun, force, adopt } = options
    const summary = await withStores(
      ({ config, stores, signal }) =>
        createLifecycle({ stores, log, config }).sweep({ dryRun, force, adopt, signal }),
      dryRun ? {} : { action: 'sweep', query: { force, adopt } },
    )
    if (!summary)
      throw new CommandError(
        'Another process is sweeping now. Try again when it has ended.',
        EXIT.unreachable,
      )
    print(options, summary, () => describe(summary, dryRun))
    return summary.failedSteps > 0 ? EXIT.failed : EXIT.done
  },
}

/** The counts in the words of their schema. Counts of zero are left out. */
function describe(summary: SweepSummary, dryRun: boolean) {
  const { objects, durationMs, ...counts } = summary
  const entries = Object.entries(counts).filter(([, value]) => value > 0)
  const head = `${dryRun ? 'Nothing was changed. ' : ''}The stores have ${plural(objects, 'object')}. It took ${(durationMs / 1000).toFixed(1)} s.`
  if (entries.length === 0) return `${head}\nThere was nothing to do.`
  const properties = SweepSummary.properties as Record<string, { description?: string }>
  return `${head}\n\n${pairs(entries.map(([name, value]) => [count(value), properties[name]?.description ?? name]))}`
}
