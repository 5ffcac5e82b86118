import { defineConfig } from 'orval'

export default defineConfig({
  hasty: {
    input: 'openapi.json',
    output: {
      target: 'generated/orval.ts',
      client: 'fetch',
      baseUrl: { getBaseUrlFromSpecification: true },
      // It does not support an operation with several media types of the request.
      override: {
        operations: { upload: { contentType: { exclude: ['image/*', 'application/octet-stream'] } } },
      },
    },
  },
})
