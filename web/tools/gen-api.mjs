// Writes the page's types from the server's OpenAPI document:
//   npm run gen:api -- openapi.json [OUTPUT]   (a file, or the address of a running server)
import { readFile, writeFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import openapiTS, { astToString } from 'openapi-typescript'

const source = process.argv[2]
if (!source) {
  console.error('usage: npm run gen:api -- openapi.json | http://HOST:PORT/api/v1/openapi.json')
  process.exit(2)
}

// npm runs this in tools/; a relative path is meant from where the person stands.
const from = resolve(process.env.INIT_CWD ?? '.', source)
const document = /^https?:/.test(source) ? await (await fetch(source)).json() : JSON.parse(await readFile(from, 'utf8'))
const head = '// Generated from the OpenAPI document by `npm run gen:api`. Do not edit.\n\n'
const target = process.argv[3] ?? new URL('../src/lib/api/schema.gen.ts', import.meta.url)
await writeFile(target, head + astToString(await openapiTS(document)))
