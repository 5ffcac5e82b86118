/** The files that `web/build.ts` has written to `web/dist/assets`, by their names there. */
export interface Manifest {
  icon: string
  /** By the name of the page's folder. `shared` has a style and no script. */
  pages: Record<string, PageFiles>
}

export interface PageFiles {
  style: string
  /** The entry first, then the parts that it imports. Empty for a page without a script. */
  scripts: string[]
}
