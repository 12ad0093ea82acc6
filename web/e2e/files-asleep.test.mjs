// The drawer while every session sleeps: all of it works, and nothing of it wakes any.
import assert from 'node:assert/strict'
import { after, afterEach, before, test } from 'node:test'
import { Visitor, world } from './harness.mjs'

const ada = { username: 'ada', password: 'a lamp on the staithe' }
let w
let me
let page
/** From when on it must sleep. */
let slept = ''

before(async () => {
  w = await world()
  me = await Visitor.arrive(w.browser)
  page = me.page
  await me.begin(w.server, ada)
})

after(() => w?.close(ada))

afterEach(async () => {
  const [session] = await sessions()
  assert.deepEqual([session.state, session.asleep_since], ['asleep', slept], 'nothing wakes it')
})

const drawer = () => page.locator('[data-drawer]')
const row = (path) => page.locator(`[data-path=${JSON.stringify(path)}]`)
const button = (name) => page.getByRole('button', { name, exact: true })
const code = (name) => page.getByRole('textbox', { name: `Text of ${name}` })
const toast = (text) => page.getByRole('status').getByText(text)
const keyboardIn = (selector) => page.waitForFunction((s) => document.activeElement?.matches(s), selector)
const gone = (path) => row(path).waitFor({ state: 'detached' })

/** Asks as another page would: the drawer hears of it by its watch alone. */
const call = (method, path, body, type = 'application/json') =>
  page.evaluate(
    async ([method, path, body, type]) => {
      const response = await fetch(`/api/v1${path}`, { method, ...(body == null ? {} : { body, headers: { 'Content-Type': type } }) })
      if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`)
      return response.text()
    },
    [method, path, body, type],
  )
const at = (path) => `/workstation/files/content?path=${encodeURIComponent(path)}`
const put = (path, text) => call('PUT', at(path), text, 'application/octet-stream')
const get = (path) => call('GET', at(path))
const json = (path, body) => call('POST', `/workstation/files/${path}`, JSON.stringify(body))
const sessions = async () => JSON.parse(await call('GET', '/sessions'))

async function sleep(query) {
  await call('POST', `/sessions/main/sleep${query}`)
  await page.getByRole('heading', { name: 'main is asleep' }).waitFor()
  const [session] = await sessions()
  slept = session.asleep_since
  assert.ok(slept)
  return session
}

/** One after the other, what people do with files. */
async function everything(n) {
  const [one, two, up] = [`one-${n}.txt`, `two-${n}.txt`, `up-${n}.txt`]
  await button('New').click()
  await page.getByRole('menuitem', { name: 'New file' }).click()
  await page.getByLabel('Name', { exact: true }).fill(one)
  await page.keyboard.press('Enter')
  await code(one).waitFor()
  await keyboardIn('.cm-content')
  await page.keyboard.type('written asleep')
  await page.keyboard.press('Control+s')
  await drawer().getByRole('status').getByText('Saved', { exact: true }).waitFor({ state: 'attached' })
  assert.equal(await get(one), 'written asleep')
  await put(one, 'by another')
  await code(one).getByText('by another').waitFor()
  await button('Back to the files').click()

  await row(one).click()
  await page.keyboard.press('F2')
  await page.getByLabel('Name', { exact: true }).fill(two)
  await page.keyboard.press('Enter')
  await row(two).waitFor()
  await gone(one)
  assert.equal(await get(two), 'by another')

  await page.getByLabel('Files to upload').setInputFiles({ name: up, mimeType: 'text/plain', buffer: Buffer.alloc(100_000, 'u') })
  await drawer().getByRole('heading', { name: '1 file uploaded' }).waitFor()
  await row(up).waitFor()
  assert.equal((await get(up)).length, 100_000)
  await button('Clear').click()

  await row(two).click()
  await page.keyboard.press('Delete')
  await toast(`Put ${two} into the trash.`).waitFor()
  await gone(two)
  await button('Undo').last().click()
  await row(two).waitFor()
  assert.equal(await get(two), 'by another')
  const [saved] = await Promise.all([
    page.waitForEvent('download'),
    row(two).click({ button: 'right' }).then(() => page.getByRole('menuitem', { name: 'Download' }).first().click()),
  ])
  assert.equal(saved.suggestedFilename(), two)
}

/** What others do to the files is seen. */
async function live(n) {
  const [a, b, folder] = [`live-${n}`, `moved-${n}`, `folder-${n}`]
  await put(a, '12345')
  await row(a).getByText('5 bytes').waitFor()
  await put(a, '1234567')
  await row(a).getByText('7 bytes').waitFor()
  await json('move', { from: a, to: b })
  await row(b).waitFor()
  await gone(a)
  await json('folders', { path: folder })
  await row(folder).dblclick()
  await put(`${folder}/in`, 'x')
  await row(`${folder}/in`).waitFor()
  await page.getByRole('navigation', { name: 'Folder' }).getByRole('button', { name: 'Home', exact: true }).click()
  await json('trash', { path: folder })
  await gone(folder)
  await row(b).waitFor()
}

test('while the session is frozen, files are made, edited, renamed, uploaded, thrown away and had back', async () => {
  const session = await sleep('')
  assert.equal(session.frozen, true)
  await button('Files').click()
  await keyboardIn('[role=treegrid]')
  await everything('frozen')
})

test('while the session is frozen, what others do to the files is seen', () => live('frozen'))

test('while the session is stopped, all of that works, too', async () => {
  const session = await sleep('?stop=true')
  assert.equal(session.frozen ?? false, false)
  await everything('stopped')
  await live('stopped')
})

test('a page that is opened while the session sleeps shows the files', async () => {
  await page.reload()
  await page.getByRole('heading', { name: 'main is asleep' }).waitFor()
  await row('two-frozen.txt').waitFor()
  await everything('reloaded')
  await live('reloaded')
})

test('names are found, and the trash is gone through, while the session sleeps', async () => {
  await drawer().getByRole('button', { name: 'Search' }).click()
  await page.getByRole('searchbox', { name: 'A part of a name' }).fill('two-stopped')
  await page.keyboard.press('Enter')
  await drawer().getByRole('button', { name: 'two-stopped.txt' }).waitFor()
  await drawer().getByRole('button', { name: 'Trash' }).click()
  await button('Put folder-stopped back').click()
  await button('Put folder-stopped back').waitFor({ state: 'detached' })
  await drawer().getByRole('button', { name: 'Files', exact: true }).click()
  await row('folder-stopped').waitFor()
  assert.equal(await get('folder-stopped/in'), 'x')
})

test('nothing went wrong in the page', () => assert.deepEqual(me.problems, []))
