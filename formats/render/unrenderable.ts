/** A picture that cannot be shown in a browser, in any format. The message says why. */
export class Unrenderable extends Error {
  override name = 'Unrenderable'
}
