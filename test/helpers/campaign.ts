const given = process.argv.slice(2)

/** How often something is tried: `few` times in `npm test`, `many` times with `--test-arg=many`, as in CI. */
export const times = (few: number, many: number) => (given.includes('many') ? many : few)

/** What random choices begin with: with the number of a run, as `--test-arg=7`, it can be done again. */
export const seed = Number(given.find((argument) => /^\d+$/.test(argument)) ?? 1)
