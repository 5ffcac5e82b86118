import { client } from './generated/hey-api/client.gen.ts'
import { createLink, getImage, upload } from './generated/hey-api/sdk.gen.ts'
import { files, idOf, report, sha256, token, unknownId, url } from './given.ts'

client.setConfig({ baseUrl: url, auth: () => token })

const link = await createLink({ body: { sinceNow: 'PT1H' }, throwOnError: true })
const uploaded = await upload({
  path: { id: idOf(link.data.relativePath) },
  body: { image: files },
  throwOnError: true,
})
const images = uploaded.data.processed
const image = await getImage({ path: { id: images[0]!.id }, parseAs: 'blob', throwOnError: true })
const { error } = await getImage({ path: { id: unknownId }, parseAs: 'blob' })
report({
  hashes: images.map(({ hash }) => hash),
  bytes: sha256(await (image.data as Blob).arrayBuffer()),
  error: error && typeof error === 'object' && 'type' in error ? error.type : '',
})
