import type { Test } from 'tap'

/** Moves the clock of the caches forward by so many milliseconds until the end of the test. Several calls add up. */
export function forward(t: Test, milliseconds: number) {
  const { now } = performance
  performance.now = () => now.call(performance) + milliseconds
  t.teardown(() => Object.assign(performance, { now }))
}
