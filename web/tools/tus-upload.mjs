// Uploads files with the real tus-js-client, for internal/e2e. The order comes as
// JSON on standard input; what happens goes out as lines of JSON.
//
// { endpoint, token, files: [{ file, path, mode?, mtime?, replace? }],
//   chunk?: bytes, parallel?: parts of one file, retries?: ms[],
//   stopAt?: bytes after which the process stops itself (SIGSTOP), abortAt?: bytes, terminate?: bool, storage?: file }
import fs from 'node:fs'
import tus from 'tus-js-client'

const order = JSON.parse(fs.readFileSync(0, 'utf8'))
const say = (event) => process.stdout.write(JSON.stringify(event) + '\n')
const utf8 = ({ path, mode, mtime, replace }) =>
  Object.fromEntries(Object.entries({ path, mode, mtime, replace }).filter(([, v]) => v !== undefined))

function one(f) {
  return new Promise((resolve) => {
    let aborted = false
    const options = {
      endpoint: order.endpoint,
      headers: { Authorization: `Bearer ${order.token}` },
      metadata: utf8(f),
      ...(!order.parallel && { uploadSize: fs.statSync(f.file).size }),
      chunkSize: order.chunk ?? Infinity,
      retryDelays: order.retries ?? [100, 200, 400, 800, 1600, 3200],
      removeFingerprintOnSuccess: true,
      ...(order.parallel && { parallelUploads: order.parallel }),
      ...(order.storage && {
        urlStorage: new tus.FileUrlStorage(order.storage),
        fingerprint: async () => `e2e-${f.path}`,
      }),
      onProgress: async (bytes, total) => {
        say({ event: 'progress', path: f.path, bytes, total })
        if (order.stopAt !== undefined && bytes >= order.stopAt) {
          delete order.stopAt
          process.kill(process.pid, 'SIGSTOP')
        }
        if (order.abortAt !== undefined && bytes >= order.abortAt && !aborted) {
          aborted = true
          await upload.abort(order.terminate ?? false)
          say({ event: 'aborted', path: f.path, url: upload.url })
          resolve()
        }
      },
      onShouldRetry: (err) => {
        const status = err.originalResponse ? err.originalResponse.getStatus() : 0
        const retry = status === 0 || status === 409 || status === 423 || status >= 500
        say({ event: retry ? 'retry' : 'refused', path: f.path, status, message: err.originalResponse?.getBody() })
        return retry
      },
      onError: (err) => {
        say({ event: 'error', path: f.path, status: err.originalResponse?.getStatus() ?? 0, message: err.message })
        resolve()
      },
      onSuccess: (payload) => {
        say({ event: 'done', path: f.path, url: upload.url, entry: payload?.lastResponse?.getHeader('Staithe-Entry') })
        resolve()
      },
    }
    // tus-js-client wants small parts of a file to be read as they are sent.
    const upload = new tus.Upload(fs.createReadStream(f.file), options)
    const begin = async () => {
      if (order.storage) {
        const [before] = await upload.findPreviousUploads()
        if (before) {
          say({ event: 'resumed', path: f.path, url: before.uploadUrl })
          upload.resumeFromPreviousUpload(before)
        }
      }
      upload.start()
    }
    begin().catch((err) => {
      say({ event: 'error', path: f.path, message: String(err) })
      resolve()
    })
  })
}

await Promise.all(order.files.map(one))
