import type { Test } from 'tap'

/** Moves the clock of the caches forward by so many milliseconds until the end of the test. Several calls add up. */
export function forward(t: Test, milliseconds: number) {
  const { now } = performance
  performance.now = () => now.call(performance) + milliseconds
  t.teardown(() => Object.assign(performance, { now }))
}

/** Moves the date forward by so many milliseconds, until the returned function is called. */
export function forwardDate(milliseconds: number): () => void {
  const { now } = Date
  return replaceDate(() => now() + milliseconds)
}

/** Takes the date from `now`, in milliseconds, until the returned function is called. */
export function replaceDate(now: () => number): () => void {
  const Real = Date
  globalThis.Date = new Proxy(Real, {
    construct: (target, args, newTarget) =>
      Reflect.construct(target, args.length === 0 ? [now()] : args, newTarget),
    apply: () => new Real(now()).toString(),
    get: (target, name) => (name === 'now' ? now : Reflect.get(target, name)),
  })
  return () => {
    globalThis.Date = Real
  }
}
