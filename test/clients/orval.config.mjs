import { defineConfig } from 'orval'

export default defineConfig({
  hasty: {
    input: 'openapi.json',
    output: { target: 'generated/orval.ts', client: 'fetch', baseUrl: { getBaseUrlFromSpecification: true } },
  },
})
