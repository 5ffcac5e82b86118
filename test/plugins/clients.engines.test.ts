import { execFile, spawnSync } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { build, makeLink } from '../helpers/app.ts'

const run = promisify(execFile)
const MiB = 2 ** 20
const UNKNOWN = `/uploads/${'x'.repeat(48)}`

const app = await build(t, { GUESS_LIMIT: '0' })
await app.listen({ port: 0 })
const base = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}`
const link = await makeLink(app)

const folder = await mkdtemp(join(tmpdir(), 'hasty-clients-'))
t.teardown(() => rm(folder, { recursive: true, force: true }))
await writeFile(join(folder, 'body'), Buffer.alloc(12 * MiB, 'x'))

// Each program sends 12 MiB to a refused URL, and then uses its connection again. It prints both statuses.
const programs = {
  'Java HttpClient': {
    command: 'java',
    file: 'Client.java',
    source: `
import java.net.URI; import java.net.http.*; import java.nio.file.Path;
class Client { public static void main(String[] a) throws Exception {
  var client = HttpClient.newHttpClient();
  for (int n = 0; n < 3; n++) {
    var refused = client.send(HttpRequest.newBuilder(URI.create(a[0])).header("Content-Type", a[2])
      .POST(HttpRequest.BodyPublishers.ofFile(Path.of(a[3]))).build(), HttpResponse.BodyHandlers.ofString());
    var next = client.send(HttpRequest.newBuilder(URI.create(a[1])).build(), HttpResponse.BodyHandlers.ofString());
    System.out.println(refused.statusCode() + " " + next.statusCode());
  } } }`,
    args: (file: string) => [file],
  },
  'Python urllib': {
    command: 'python3',
    file: 'client.py',
    source: `
import sys, urllib.request, urllib.error
def status(request):
    try: return urllib.request.urlopen(request, timeout=30).status
    except urllib.error.HTTPError as error: return error.code
body = open(sys.argv[4], 'rb').read()
for n in range(3):
    refused = status(urllib.request.Request(sys.argv[1], body, {'Content-Type': sys.argv[3]}))
    print(refused, status(sys.argv[2]))`,
    args: (file: string) => [file],
  },
  Go: {
    command: 'go',
    file: 'client.go',
    source: `
package main
import ("fmt"; "io"; "net/http"; "os")
func main() {
  for n := 0; n < 3; n++ {
    body, _ := os.Open(os.Args[4])
    refused, err := http.Post(os.Args[1], os.Args[3], body)
    if err != nil { fmt.Println(err); continue }
    io.Copy(io.Discard, refused.Body); refused.Body.Close()
    next, err := http.Get(os.Args[2])
    if err != nil { fmt.Println(err); continue }
    io.Copy(io.Discard, next.Body); next.Body.Close()
    fmt.Println(refused.StatusCode, next.StatusCode)
  } }`,
    args: (file: string) => ['run', file],
  },
  curl: {
    command: 'sh',
    file: 'client.sh',
    source: `
for n in 1 2 3; do
  curl -s -o /dev/null -w '%{http_code} ' -H "Content-Type: $3" --data-binary "@$4" "$1" \\
    --next -s -o /dev/null -w '%{http_code}\\n' "$2"
done`,
    args: (file: string) => [file],
  },
  'Node fetch': {
    command: process.execPath,
    file: 'client.mjs',
    source: `
import { readFileSync } from 'node:fs'
const [, , refusedUrl, nextUrl, type, path] = process.argv
for (let n = 0; n < 3; n++) {
  const refused = await fetch(refusedUrl, { method: 'POST', headers: { 'content-type': type }, body: readFileSync(path) })
  await refused.text()
  console.log(refused.status, (await fetch(nextUrl)).status)
}`,
    args: (file: string) => [file],
  },
}

// Go compiles its library at the first run.
const isMissing = (command: string) =>
  spawnSync('which', [command]).status !== 0 && `${command} is not installed`

for (const [client, { command, file, source, args }] of Object.entries(programs)) {
  t.test(
    `${client} reads each refusal, and its next request is answered`,
    { skip: isMissing(command === 'sh' ? 'curl' : command), timeout: 400_000 },
    async (t) => {
      const path = join(folder, file)
      await writeFile(path, source)
      for (const [url, type, status] of [
        [base + UNKNOWN, 'multipart/form-data; boundary=b', 404],
        [base + link, 'application/zip', 415],
        [`${base}/admin/ephemeral-links`, 'application/json', 401],
      ] as const) {
        const { stdout } = await run(
          command,
          [...args(path), url, `${base}/livez`, type, join(folder, 'body')],
          {
            env: { ...process.env, GOCACHE: join(tmpdir(), 'hasty-go-cache'), GO111MODULE: 'off' },
          },
        )
        t.equal(stdout.trim(), Array(3).fill(`${status} 200`).join('\n'), `${status}`)
      }
    },
  )
}
