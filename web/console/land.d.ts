// web/build.ts makes it from Natural Earth's outline of land.
declare module 'virtual:land' {
  /** The path of an SVG with the viewBox `0 0 720 360`: two units are one degree. */
  const path: string
  export default path
}
