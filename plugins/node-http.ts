/**
 * Constants of `node:http`. An `import` of that module also loads its lazy parts, such as fetch, which takes 10 MB of
 * memory.
 */
export const { maxHeaderSize, STATUS_CODES } = process.getBuiltinModule('node:http')
