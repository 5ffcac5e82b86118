import { type Client, client, setConfig } from '@kubb/plugin-client/clients/fetch'
import { createLink, getImage, upload } from './generated/kubb/clients/index.ts'
import { files, idOf, report, sha256, token, unknownId, url } from './given.ts'

setConfig({ baseURL: url })
// The client sends JSON without a media type.
const json = { 'Content-Type': 'application/json' }
/** The client reads each response as JSON. This one reads bytes. */
const bytesClient = (async ({ url: path, method }) => {
  const response = await fetch(url + path, { method })
  return { data: await response.blob(), status: response.status, statusText: '', headers: response.headers }
}) as Client

const link = await createLink({ sinceNow: 'PT1H' }, { headers: { 'X-Access-Token': token, ...json } })
const uploaded = await upload(idOf(link.data.relativePath), { image: files })
const images = uploaded.data.processed
const image = await getImage(images[0]!.id, undefined, { client: bytesClient })
// The client does not throw for an error. The status decides the type of `data`.
const missing = await getImage(unknownId, undefined, { client })
const { type } = missing.data as unknown as { type: string }
report({
  hashes: images.map(({ hash }) => hash),
  bytes: sha256(await image.data.arrayBuffer()),
  error: missing.status === 404 ? type : '',
})
