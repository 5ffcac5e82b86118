/**
 * A store can't be used at the moment. The caller may try again later. The call had no effect, or it is not known whether
 * it had. The message is a sentence that names the fault. `cause` is the error of the store's client.
 */
export class StoreUnavailable extends Error {
  override name = 'StoreUnavailable'

  /** @param fault the predicate of the message, such as `refuses access (AccessDenied)` */
  constructor(store: 'database' | 'object store', options: ErrorOptions, fault = 'does not respond') {
    super(`The ${store} ${fault}.`, options)
  }
}
