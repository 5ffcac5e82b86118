/**
 * A store can't be reached, or has not answered in time: try again later. What it was asked for has not happened, or
 * nobody knows whether it has. `cause` is what the store's client said.
 */
export class StoreUnavailable extends Error {
  override name = 'StoreUnavailable'

  constructor(store: 'database' | 'object store', options: ErrorOptions) {
    super(`no answer from the ${store}`, options)
  }
}
