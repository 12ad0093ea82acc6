// What the drawer must not lose, nor send to where it was not meant for.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { Visitor, world } from './harness.mjs'

const ada = { username: 'ada', password: 'a lamp on the staithe' }
let w
let me
let page

before(async () => {
  w = await world()
  me = await Visitor.arrive(w.browser)
  page = me.page
  await page.goto(w.server.setup)
  await page.getByLabel('User name').fill(ada.username)
  await page.getByLabel('Password', { exact: true }).fill(ada.password)
  await page.getByRole('button', { name: /create account/i }).click()
  await me.sees('main', /\$ ?$/)
})

after(() => w?.close(ada))

const drawer = () => page.locator('[data-drawer]')
const row = (path) => page.locator(`[data-path=${JSON.stringify(path)}]`)
const button = (name) => page.getByRole('button', { name, exact: true })
const code = (name) => page.getByRole('textbox', { name: `Text of ${name}` })
const content = (path) => `/api/v1/workstation/files/content?path=${encodeURIComponent(path)}`

/** Writes a file as another page would. */
const put = (path, text) =>
  page.evaluate(async ([url, body]) => (await fetch(url, { method: 'PUT', body })).status, [content(path), text])
const get = (path) => page.evaluate(async (url) => (await fetch(url)).text(), content(path))

async function edit(path) {
  if ((await drawer().count()) === 0) await button('Files').click()
  await row(path).dblclick()
  await code(path).waitFor()
  await page.waitForFunction(() => document.activeElement?.matches('.cm-content'))
}

test('text that is not saved outlives the drawer, and is what Save writes', async () => {
  await put('kept.txt', 'one\n')
  await edit('kept.txt')
  await page.keyboard.type('typed ')
  await button('Close the drawer').click()
  await drawer().waitFor({ state: 'detached' })
  await button('Files, with text that is not saved').click()
  await code('kept.txt').getByText('typed one').waitFor()
  await page.waitForFunction(() => document.activeElement?.matches('.cm-content'))
  await page.keyboard.type('on and ')
  await page.keyboard.press('Alt+Shift+F')
  await drawer().waitFor({ state: 'detached' })
  await page.keyboard.press('Alt+Shift+F')
  await code('kept.txt').getByText('typed on and one').waitFor()
  await button('Save').click()
  await drawer().getByRole('status').getByText('Saved', { exact: true }).waitFor({ state: 'attached' })
  assert.equal(await get('kept.txt'), 'typed on and one\n')
  await code('kept.txt').click()
  // The history outlives it, too.
  await page.keyboard.press('Control+z')
  await code('kept.txt').getByText(/^(typed )?one$/).waitFor()
})

test('logging out asks about text that is not saved, also with the drawer closed', async () => {
  await button('Close the drawer').click()
  await button('Account and settings').click()
  await page.getByRole('menuitem', { name: 'Log out' }).click()
  await page.getByRole('dialog', { name: 'Save kept.txt?' }).getByRole('button', { name: 'Go on editing' }).click()
  await code('kept.txt').getByText(/^(typed )?one$/).waitFor()
  await button('Back to the files').click()
  await page.getByRole('dialog', { name: 'Save kept.txt?' }).getByRole('button', { name: 'Throw away' }).click()
  await row('kept.txt').waitFor()
  assert.equal(await get('kept.txt'), 'typed on and one\n')
})

test('what is typed into a file while the disk changes it never runs in the shell', async () => {
  await put('live.txt', 'a\nb\n')
  await edit('live.txt')
  await page.keyboard.press('Control+End')
  let let_go
  const gate = new Promise((resolve) => (let_go = resolve))
  const slow = async (route) => {
    if (route.request().method() === 'GET') await gate
    await route.continue()
  }
  await page.route('**/files/content*', slow)
  const asked = page.waitForRequest((request) => request.method() === 'GET' && request.url().includes('files/content'))
  assert.equal(await put('live.txt', 'first\na\nb\n'), 200)
  await asked
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
  assert.equal(await code('live.txt').count(), 1, 'the editor stays')
  let_go()
  await code('live.txt').getByText('first').waitFor()
  await page.unroute('**/files/content*', slow)
  await page.keyboard.type('echo ran')
  await page.keyboard.press('Enter')
  assert.equal(await page.evaluate(() => document.activeElement?.matches('.cm-content')), true)
  await page.keyboard.press('Control+s')
  await drawer().getByRole('status').getByText('Saved', { exact: true }).waitFor({ state: 'attached' })
  assert.equal(await get('live.txt'), 'first\na\nb\necho ran\n', 'the cursor stayed where it was')
  // With the focus lost, nothing goes to the shell either.
  await page.evaluate(() => document.activeElement.blur())
  await page.keyboard.type('echo stray')
  await page.keyboard.press('Enter')
  await page.locator('[data-tab=main] .xterm-helper-textarea').focus()
  await me.run('echo af""ter')
  await me.sees('main', /^after$/m)
  assert.doesNotMatch(await me.text('main'), /ran|stray/)
  await button('Back to the files').click()
})

test('nothing went wrong in the page', () => assert.deepEqual(me.problems, []))
