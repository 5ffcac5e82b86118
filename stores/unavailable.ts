/**
 * A store can't be reached, or does not respond in time. The caller may try again later. The call had no effect, or it
 * is not known whether it had. `cause` is the error of the store's client.
 */
export class StoreUnavailable extends Error {
  override name = 'StoreUnavailable'

  constructor(store: 'database' | 'object store', options: ErrorOptions) {
    super(`no answer from the ${store}`, options)
  }
}
