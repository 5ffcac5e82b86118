import { createLink, getImage, upload } from './generated/orval.ts'
import { files, idOf, report, sha256, token, unknownId } from './given.ts'

const link = await createLink({ sinceNow: 'PT1H' }, { headers: { 'X-Access-Token': token } })
if (link.status !== 201) throw new Error(link.data.type)
const uploaded = await upload(idOf(link.data.relativePath), { image: files })
if (uploaded.status !== 200) throw new Error(uploaded.data.type)
const images = uploaded.data.processed
const image = await getImage(images[0]!.id)
if (image.status !== 200) throw new Error(String(image.status))
const missing = await getImage(unknownId)
if (missing.status !== 404) throw new Error(String(missing.status))
// The client reads each response of this operation as a Blob, also an error.
const error = JSON.parse(await (missing.data as unknown as Blob).text()) as typeof missing.data
report({
  hashes: images.map(({ hash }) => hash),
  bytes: sha256(await image.data.arrayBuffer()),
  error: error.type,
})
