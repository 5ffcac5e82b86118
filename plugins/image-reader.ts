import fp from 'fastify-plugin'
import { createImageReader, type ImageReader } from '../services/analysis/reader.ts'
import { detectSandbox } from '../services/analysis/sandbox/levels.ts'

declare module 'fastify' {
  interface FastifyInstance {
    imageReader: ImageReader
  }
}

export interface ImageReaderOptions {
  /** A reader that the caller closes. Tests share one. */
  imageReader?: ImageReader
}

/** Reads uploads in sandboxed processes. One is started when the service listens. */
export default fp<ImageReaderOptions>(
  async (app, { imageReader }) => {
    app.decorate('imageReader', imageReader ?? createImageReader({ log: app.log }))
    app.addHook('onListen', async () => {
      const { level, limited } = await detectSandbox()
      app.log.info({ sandbox: level, limited }, 'decoders are isolated')
      await app.imageReader.warmUp()
    })
    if (!imageReader) app.addHook('onClose', () => app.imageReader.close())
  },
  { name: 'image-reader' },
)
