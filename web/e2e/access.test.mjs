// Without a mouse, without sight, without a login, without luck.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { TIMEOUT, Visitor, world } from './harness.mjs'

const ada = { username: 'ada', password: 'a lamp on the staithe' }
const ben = { username: 'ben', password: 'a rope on the staithe' }
const prompt = /\$ ?$/
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
let w
let me
let page
let invite

before(async () => {
  w = await world()
  me = await Visitor.arrive(w.browser)
  page = me.page
})

after(async () => {
  await w?.close(ada)
})

/** Nothing serious or critical on the page as it is; evaluate() is outside the page's policy. */
async function accessible(page, what) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }))
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  assert.deepEqual(
    bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html} ${any[0]?.message ?? ''}`).join(' | ')}`),
    [],
    what,
  )
}

const keyboardIn = (selector) => page.waitForFunction((s) => document.activeElement?.matches(s), selector)
const keyboardInShell = () => keyboardIn('.xterm-helper-textarea')

async function openFromUserMenu(item) {
  await page.getByRole('button', { name: 'Account and settings' }).click()
  await page.getByRole('menuitem', { name: item }).click()
  await page.getByRole('dialog').waitFor()
}

async function closeDialog() {
  await page.keyboard.press('Escape')
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await keyboardInShell()
}

async function logIn(page, { username, password }) {
  await page.getByLabel('User name').fill(username)
  await page.getByLabel('Password', { exact: true }).fill(password)
  await page.getByRole('button', { name: 'Log in' }).click()
}

for (const colorScheme of ['dark', 'light']) {
  test(`the doors are accessible, ${colorScheme}`, async () => {
    const visitor = await Visitor.arrive(w.browser, { colorScheme })
    await visitor.page.goto(w.server.setup)
    await visitor.page.getByLabel('User name').waitFor()
    await accessible(visitor.page, 'setup')
    await visitor.page.getByLabel('Password', { exact: true }).fill('short')
    await visitor.page.getByRole('button', { name: /create account/i }).click()
    await visitor.page.getByText('Too short').waitFor()
    await accessible(visitor.page, 'setup with problems')
    await visitor.page.context().close()
  })
}

test('a setup link opened over the page of a broken one works', async () => {
  await page.goto(`${w.url}/setup`)
  await page.getByRole('heading', { name: 'This link does not work' }).waitFor()
  await page.goto(w.server.setup)
  await page.getByLabel('User name').fill(ada.username)
  assert.equal(new URL(page.url()).hash, '')
  await page.getByLabel('Password', { exact: true }).fill(ada.password)
  await page.keyboard.press('Enter')
  await me.sees('main', prompt)
})

test('the main view, its menus and dialogs are accessible, in both colours', async () => {
  for (const colours of ['Light', 'Dark']) {
    await page.getByRole('button', { name: 'Account and settings' }).click()
    await page.getByRole('menuitemradio', { name: colours }).click()
    await accessible(page, `user menu, ${colours}`)
    await page.keyboard.press('Escape')
    await keyboardInShell()
    await accessible(page, `main view, ${colours}`)
    for (const item of ['Keyboard', 'Change password', 'API tokens', 'People']) {
      await openFromUserMenu(item)
      // What is still sliding in has other colours than it will have.
      await page.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {}))))
      await accessible(page, `${item}, ${colours}`)
      await closeDialog()
    }
  }
})

test('the keyboard leaves the terminal, walks the bar, and comes back', async () => {
  await page.keyboard.press('Alt+Shift+T')
  await page.getByRole('tab', { name: 'sh-2', selected: true }).waitFor()
  await me.sees('sh-2', prompt)
  await page.keyboard.press('Alt+Shift+B')
  await keyboardIn('[role=tab]')
  await page.keyboard.press('ArrowLeft')
  await page.getByRole('tab', { name: 'main', selected: true }).waitFor()
  await keyboardIn('[role=tab][aria-selected=true]')
  await page.keyboard.press('Escape')
  await keyboardInShell()
  await page.keyboard.press('Alt+Shift+B')
  await keyboardIn('[role=tab]')
  await page.keyboard.press('Shift+Tab')
  await page.keyboard.press('Enter')
  await page.getByRole('menuitem', { name: 'Manage sessions' }).waitFor()
  await page.keyboard.press('End')
  await page.keyboard.press('Enter')
  await page.getByRole('dialog').waitFor()
  // A question on top of a dialog gives the keyboard back to the dialog.
  await page.getByRole('button', { name: 'Delete main' }).press('Enter')
  await page.getByRole('heading', { name: 'Delete main?' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('heading', { name: 'Delete main?' }).waitFor({ state: 'detached' })
  await keyboardIn('[role=dialog], [role=dialog] *')
  await closeDialog()
  assert.doesNotMatch(await me.text('main'), /\$ .*\S/, 'not a key of all that reached the shell')
})

test('what is typed right after asking for a tab goes to the new shell', async () => {
  await page.keyboard.press('Alt+Shift+T')
  await page.keyboard.type('echo new-$((3*3))\n')
  await me.sees('sh-3', /^new-9$/m)
  assert.doesNotMatch(await me.text('main'), /new-/)
})

test('what is typed while another session is on its way goes there', async () => {
  await page.getByRole('button', { name: /switch or manage sessions/ }).click()
  await page.getByRole('menuitem', { name: 'New session' }).click()
  await page.getByLabel('Name', { exact: true }).fill('lab')
  await page.keyboard.press('Enter')
  await page.waitForURL(/\/s\/lab$/)
  await page.keyboard.type('echo ahead-$((4*4))\n')
  await me.sees('main', /^ahead-16$/m)
  await page.getByRole('button', { name: /switch or manage sessions/ }).click()
  await page.getByRole('menuitem', { name: 'main' }).click()
  await page.waitForURL(/\/s\/main$/)
  await page.keyboard.type('echo back-$((5*5))\n')
  await me.sees('main', /^back-25$/m)
})

test('what is typed after a new shell came and before the list of tabs did goes to the shell', async () => {
  const other = new Visitor(await page.context().newPage())
  const held = []
  let release = (pass) => held.push(pass)
  await other.page.routeWebSocket(/\/ws\//, (near) => {
    const far = near.connectToServer()
    far.onMessage((message) => {
      const list = message[0] === 255 && JSON.parse(message.subarray(1).toString()).type === 'tabs'
      if (list) release(() => near.send(message))
      else near.send(message)
    })
  })
  await page.evaluate(() =>
    fetch('/api/v1/sessions', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ name: 'late' }),
    }),
  )
  await other.page.goto(`${w.url}/s/late`)
  await other.page.locator('.xterm-helper-textarea').waitFor({ state: 'attached' })
  await other.page.keyboard.type('echo held-$((7*7))\n')
  // The terminal is there before its server has said anything.
  for (const end = Date.now() + TIMEOUT; held.length === 0 && Date.now() < end; ) await other.page.waitForTimeout(50)
  assert.notEqual(held.length, 0, 'a list was held back')
  release = (pass) => pass()
  for (const pass of held) pass()
  await other.sees('main', /^held-49$/m)
  await other.page.close()
  await page.evaluate(() => fetch('/api/v1/sessions/late', { method: 'DELETE' }))
  await page.bringToFront()
})

test('keys pressed while nothing has the keyboard reach the shell, in order', async () => {
  for (let i = 1; i < 6; i++) {
    await page.evaluate(() => document.activeElement.blur())
    assert.equal(await page.evaluate(() => document.activeElement === document.body), true)
    await page.keyboard.type(`echo stray-${i}-$((3*3))\n`)
    await me.sees('main', new RegExp(`^stray-${i}-9$`, 'm'))
  }
})

test('a page that goes away says so to the server', async () => {
  w.network.said.length = 0
  await page.reload()
  await me.sees('main', prompt)
  assert.deepEqual(w.network.said, [1000])
})

test('a page whose place was taken says so, stays away, and takes it back on a click', async () => {
  const hello = new Promise((resolve) => {
    page.on('websocket', (socket) =>
      socket.on('framesent', ({ payload }) => {
        const message = Buffer.from(payload)
        if (message[0] === 255 && message.includes('"hello"')) resolve([socket.url(), message.toString('latin1')])
      }),
    )
  })
  await page.reload()
  await me.sees('main', prompt)
  const [url, message] = await hello
  await page.evaluate(
    ([url, message]) => {
      const other = new WebSocket(url, 'staithe.mux.v1')
      other.onopen = () => other.send(Uint8Array.from(message, (c) => c.charCodeAt(0)))
      window.other = other
    },
    [url, message],
  )
  await page.getByRole('heading', { name: 'Used elsewhere' }).waitFor()
  await page.evaluate(() => dispatchEvent(new Event('focus')))
  await page.waitForTimeout(1000)
  await me.linkIs('replaced')
  await accessible(page, 'used elsewhere')
  await page.keyboard.type('lost on purpose\n')
  await me.linkIs('replaced')
  await page.getByRole('button', { name: 'Use it here' }).click()
  await me.linkIs('open')
  await keyboardInShell()
  await me.run('echo mine-$((6*6))')
  await me.sees('main', /^mine-36$/m)
  assert.doesNotMatch(await me.text('main'), /on purpose/)
})

test('someone whom the administrator disables reads why and is asked to log in', async () => {
  await openFromUserMenu('People')
  await page.getByLabel('Invite').fill(ben.username)
  await page.getByRole('button', { name: 'Make a link' }).click()
  invite = await page.getByRole('dialog').getByText(/\/invite#/).textContent()
  const other = await Visitor.arrive(w.browser)
  await other.page.goto(invite)
  await other.page.getByLabel('Password', { exact: true }).fill(ben.password)
  await other.page.keyboard.press('Enter')
  await other.sees('main', prompt)
  await page.getByRole('button', { name: 'Disable ben' }).click()
  await other.page.getByText('Your login has ended').waitFor({ timeout: 5000 })
  assert.match(other.page.url(), /\/login$/)
  await other.page.reload()
  await other.page.getByText('Your login has ended').waitFor()
  await accessible(other.page, 'login')
  await logIn(other.page, ben)
  await other.page.getByRole('alert').filter({ hasText: 'disabled' }).waitFor()
  await page.getByRole('button', { name: 'Enable ben' }).click()
  await page.getByRole('button', { name: 'Disable ben' }).waitFor()
  await logIn(other.page, ben)
  await other.sees('main', prompt)
  await other.page.context().close()
  await page.getByRole('button', { name: 'Delete ben' }).click()
  await page.getByRole('button', { name: 'Delete person' }).click()
  await page.getByRole('button', { name: 'Disable ben' }).waitFor({ state: 'detached' })
  await closeDialog()
})

test('a session deleted elsewhere says so and leads to the others', async () => {
  await page.goto(`${w.url}/s/lab`)
  await me.sees('main', /ahead-16/)
  await page.evaluate(() => fetch('/api/v1/sessions/lab', { method: 'DELETE' }))
  await page.getByRole('heading', { name: 'There is no session lab' }).waitFor()
  await page.getByRole('button', { name: 'Go to your sessions' }).click()
  await page.waitForURL(/\/s\/main$/)
  await me.sees('main', prompt)
})

test('a part of the page that does not load leaves a way on, not a blank page', async () => {
  await page.route(/\/assets\/Main-.*\.js$/, (route) => route.fulfill({ status: 404 }))
  await page.reload()
  await page.getByRole('heading', { name: 'Reload to go on' }).waitFor()
  await page.unroute(/\/assets\/Main-.*\.js$/)
  await page.getByRole('button', { name: 'Reload' }).click()
  await me.sees('main', prompt)
})

test('the page broke no policy and threw nothing', () => {
  assert.deepEqual(me.problems, [])
})
