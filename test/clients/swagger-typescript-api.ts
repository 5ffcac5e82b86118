import { Api, type ImageNotFoundProblem, type UploadBody } from './generated/swagger-typescript-api.ts'
import { files, idOf, report, sha256, token, unknownId, url } from './given.ts'

const api = new Api<string>({
  baseUrl: url,
  securityWorker: (token) => (token ? { headers: { 'X-Access-Token': token } } : {}),
})
api.setSecurityData(token)

const link = await api.admin.createLink({ sinceNow: 'PT1H' })
// The client sends an array as JSON. It sends a form as it is.
const form = new FormData()
for (const file of files) form.append('image', file)
const uploaded = await api.uploads.upload(idOf(link.data.relativePath), form as unknown as UploadBody)
const images = uploaded.data.processed
const image = await api.images.getImage(images[0]!.id)
// The client throws a response that is an error. The format says how to read its body.
const missing = await api.images
  .getImage(unknownId, {}, { format: 'json' })
  .catch((response: { error: ImageNotFoundProblem }) => response)
report({
  hashes: images.map(({ hash }) => hash),
  bytes: sha256(await image.data.arrayBuffer()),
  error: 'error' in missing ? (missing.error as ImageNotFoundProblem).type : '',
})
