import t, { type Test } from 'tap'

export type Tier = 'default' | 'engines' | 'campaign'

const given = process.argv.slice(2)

/** The tier that this process runs: CONTRIBUTING.md describes the three. */
export const tier: Tier = given.includes('campaign')
  ? 'campaign'
  : given.includes('engines')
    ? 'engines'
    : 'default'

type Options = { skip?: boolean | string; timeout?: number }
type Body = (t: Test) => Promise<unknown>

const testIn = (own: Tier) => (title: string, options: Options | Body, body?: Body) => {
  if (tier !== own) return
  if (typeof options === 'function') t.test(title, options)
  else t.test(title, options, body!)
}

/** Defines a test of one tier, in a file that has tests of several. Other tiers do not count it as skipped. */
export const inTier = { default: testIn('default'), engines: testIn('engines'), campaign: testIn('campaign') }

/** The number of repetitions: `few` in `npm test`, `many` in the campaign. */
export const times = (few: number, many: number) => (tier === 'campaign' ? many : few)

/** The start of pseudo-random sequences. Give the number of a failed run to repeat it: `--test-arg=7`. */
export const seed = Number(given.find((argument) => /^\d+$/.test(argument)) ?? 1)
