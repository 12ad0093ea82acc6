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
  await me.begin(w.server, ada)
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

test('of a link to a huge file no more is read than the editor takes; an empty file is one', async () => {
  await page.locator('[data-tab=main] .xterm-helper-textarea').focus()
  await me.run('truncate -s 3G huge && ln -s huge alias && echo alia""sed')
  await me.sees('main', /^aliased$/m)
  const read = page.waitForResponse((response) => response.url().includes('files/content?path=alias'))
  await row('alias').dblclick()
  assert.deepEqual([(await read).status(), (await read).headers()['content-length']], [206, String((1 << 20) + 1)])
  await drawer().getByText('It has 3 GB, and more than 1 MB is too much for this editor.').waitFor()
  await button('Back to the files').click()
  await put('empty.txt', '')
  await edit('empty.txt')
  await page.keyboard.type('no more')
  await page.keyboard.press('Control+s')
  await drawer().getByRole('status').getByText('Saved', { exact: true }).waitFor({ state: 'attached' })
  assert.equal(await get('empty.txt'), 'no more')
  await button('Back to the files').click()
})

test('uploads that want a person say so with the drawer closed, and leave nothing behind under a taken name', async () => {
  if ((await drawer().count()) === 0) await button('Files').click()
  const file = (name, size) => ({ name, mimeType: 'text/plain', buffer: Buffer.alloc(size, 120) })
  let let_go
  const gate = new Promise((resolve) => (let_go = resolve))
  await page.route('**/workstation/uploads/*', async (route) => {
    if (route.request().method() === 'PATCH') await gate
    await route.continue()
  })
  await page.getByLabel('Files to upload').setInputFiles(file('taken.txt', 300))
  await page.waitForRequest((request) => request.method() === 'PATCH')
  assert.equal(await put('taken.txt', 'of somebody else'), 200)
  await button('Close the drawer').click()
  const thrownAway = page.waitForResponse((response) => response.request().method() === 'DELETE' && response.url().includes('/uploads/'))
  let_go()
  assert.equal((await thrownAway).status(), 204)
  await button('Files, an upload waits for your answer').waitFor()
  await page.getByRole('status').getByText('There is a taken.txt already').waitFor()
  await button('Show').click()
  await page.getByRole('dialog', { name: 'taken.txt is there already' }).getByRole('button', { name: 'Keep both' }).click()
  await drawer().getByRole('heading', { name: '1 file uploaded' }).waitFor()
  assert.equal(await get('taken.txt'), 'of somebody else')
  assert.equal((await get('taken (2).txt')).length, 300)
  await page.unroute('**/workstation/uploads/*')
  // Refused while nobody looks.
  await page.route('**/workstation/uploads', (route) =>
    route.fulfill({ status: 507, contentType: 'application/problem+json', body: '{"code":"quota_full","detail":"The home is full."}' }),
  )
  await page.getByLabel('Files to upload').setInputFiles(file('late.txt', 300))
  await drawer().getByText('The home is full.').waitFor()
  await page.unroute('**/workstation/uploads')
  await button('Close the drawer').click()
  await button('Files, 1 upload failed').click()
  await button('Try late.txt again').click()
  await drawer().getByRole('heading', { name: '2 files uploaded' }).waitFor()
  await button('Clear').click()
})

test('what the trash does not know the place of is put where a person says', async () => {
  await page.locator('[data-tab=main] .xterm-helper-textarea').focus()
  await me.run('mkdir -p harbour .local/share/Trash/files && echo found > .local/share/Trash/files/lost.txt && echo pla""ced')
  await me.sees('main', /^placed$/m)
  await drawer().getByRole('button', { name: 'Trash' }).click()
  await drawer().getByText('from an unknown place').waitFor()
  await button('Put lost.txt back').click()
  const dialog = page.getByRole('dialog', { name: 'Where should lost.txt go?' })
  await dialog.getByRole('button', { name: 'harbour' }).click()
  await dialog.getByRole('button', { name: 'Put it here' }).click()
  await button('Put lost.txt back').waitFor({ state: 'detached' })
  assert.equal(await get('harbour/lost.txt'), 'found\n')
  // And so is what came in the place of something else.
  await page.evaluate(async () => {
    await fetch('/api/v1/workstation/files/trash', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{"path":"harbour/lost.txt"}' })
  })
  await put('harbour/lost.txt', 'another')
  await drawer().getByRole('button', { name: 'Files', exact: true }).click()
  await drawer().getByRole('button', { name: 'Trash' }).click()
  await button('Put lost.txt back').click()
  await dialog.getByRole('button', { name: 'Put it here' }).click()
  await button('Put lost.txt back').waitFor({ state: 'detached' })
  assert.equal(await get('harbour/lost.txt'), 'another')
  assert.equal(await get('harbour/lost (2).txt'), 'found\n')
  await drawer().getByRole('button', { name: 'Files', exact: true }).click()
})

test('what a copy should replace stays when the copy fails, and goes to the trash when it is there', async () => {
  await put('lost.txt', 'mine')
  await row('lost.txt').waitFor()
  const copyOver = async () => {
    await row('lost.txt').click({ button: 'right' })
    await page.getByRole('menuitem', { name: 'Copy to' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'harbour' }).click()
    await page.getByRole('button', { name: 'Copy here' }).click()
    await page.getByRole('dialog', { name: 'lost.txt is there already' }).getByRole('button', { name: 'Replace' }).click()
  }
  const full = (route) =>
    route.request().postDataJSON().to === 'harbour/lost.txt'
      ? route.continue()
      : route.fulfill({ status: 507, contentType: 'application/problem+json', body: '{"code":"quota_full","detail":"No room for the copy."}' })
  await page.route('**/files/copy', full)
  await copyOver()
  await page.getByRole('status').getByText('No room for the copy.').waitFor()
  assert.equal(await get('harbour/lost.txt'), 'another')
  await page.unroute('**/files/copy', full)
  await copyOver()
  await page.getByRole('status').getByText('Copied 1 thing to harbour.').waitFor()
  assert.equal(await get('harbour/lost.txt'), 'mine')
  await drawer().getByRole('button', { name: 'Trash' }).click()
  await button('Put lost.txt back').waitFor()
})

test('on a phone a folder is renamed and thrown away, by its button and by a finger that rests', async () => {
  const phone = await w.browser.newPage({
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
    storageState: await page.context().storageState(),
  })
  await phone.goto(`${w.url}/s/main`)
  await phone.getByRole('button', { name: 'Files', exact: true }).tap()
  const there = (path) => phone.locator(`[data-path=${JSON.stringify(path)}]`)
  await there('harbour').waitFor()
  const menu = phone.getByRole('button', { name: 'What can be done with harbour' })
  const box = await menu.boundingBox()
  assert.ok(box.width >= 44 && box.height >= 44, JSON.stringify(box))
  await there('kept.txt').tap()
  await menu.tap()
  await phone.getByRole('menuitem', { name: 'Rename' }).tap()
  await phone.getByLabel('Name', { exact: true }).fill('port')
  await phone.getByRole('button', { name: 'Rename' }).tap()
  await there('port').waitFor()
  await there('kept.txt').tap()
  // A finger rests, as where no event tells of it.
  const at = await there('port').locator('bdi').first().boundingBox()
  const cdp = await phone.context().newCDPSession(phone)
  const touchPoints = [{ x: at.x + 4, y: at.y + 4 }]
  await phone.evaluate(() => addEventListener('contextmenu', (event) => (event.preventDefault(), event.stopImmediatePropagation()), true))
  await cdp.send('Input.dispatchTouchEvent', { type: 'touchStart', touchPoints })
  await phone.getByRole('menuitem', { name: 'Put into the trash' }).waitFor()
  await cdp.send('Input.dispatchTouchEvent', { type: 'touchEnd', touchPoints: [] })
  await phone.getByRole('menuitem', { name: 'Put into the trash' }).tap()
  await there('port').waitFor({ state: 'detached' })
  await there('kept.txt').waitFor()
  await phone.close()
})

test('nothing went wrong in the page', () => assert.deepEqual(me.problems, []))
