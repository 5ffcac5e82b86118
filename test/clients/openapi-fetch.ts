import createClient from 'openapi-fetch'
import type { paths } from './generated/openapi-fetch.d.ts'
import { files, idOf, report, sha256, token, unknownId, url } from './given.ts'

const client = createClient<paths>({ baseUrl: url })

const link = await client.POST('/admin/ephemeral-links', {
  headers: { 'X-Access-Token': token },
  body: { sinceNow: 'PT1H' },
})
const uploaded = await client.POST('/uploads/{id}', {
  params: { path: { id: idOf(link.data!.relativePath) } },
  // The generated type of a file is a string, and the body can also be one image.
  body: '',
  bodySerializer() {
    const form = new FormData()
    for (const file of files) form.append('image', file)
    return form
  },
})
const images = uploaded.data!.processed
const image = await client.GET('/images/{id}', {
  params: { path: { id: images[0]!.id } },
  parseAs: 'arrayBuffer',
})
const missing = await client.GET('/images/{id}', {
  params: { path: { id: unknownId } },
  parseAs: 'arrayBuffer',
})
const { error } = missing
report({
  hashes: images.map(({ hash }) => hash),
  bytes: sha256(image.data!),
  error: error && 'type' in error ? error.type : '',
})
