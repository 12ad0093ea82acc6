// The whole story, by clicking and typing, read from the terminals' own text.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { after, before, test } from 'node:test'
import { Visitor, world } from './harness.mjs'

const ada = { username: 'ada', password: 'a lamp on the staithe' }
const prompt = (session) => new RegExp(`ada@${session}:[^\\n]*\\$ ?$`)
let w
let me
let page

before(async () => {
  w = await world()
  me = await Visitor.arrive(w.browser)
  page = me.page
})

after(async () => {
  await w?.close(ada)
})

test('the setup link makes the first account and ends in a live prompt with the keyboard in it', async () => {
  await page.goto(w.server.setup)
  await page.getByLabel('User name').waitFor()
  assert.equal(new URL(page.url()).hash, '', 'the token is out of the address bar at once')
  await page.getByLabel('User name').fill('Ada')
  await page.getByLabel('Password', { exact: true }).fill('short')
  await page.getByRole('button', { name: /create account/i }).click()
  await page.getByText('Too short').waitFor()
  await page.getByLabel('User name').fill(ada.username)
  await page.getByLabel('Password', { exact: true }).fill(ada.password)
  await page.getByRole('button', { name: /create account/i }).click()
  await me.sees('main', prompt('main'))
  await me.run('echo lit-$((20+2))')
  await me.sees('main', /^lit-22$/m)
  assert.match(page.url(), /\/s\/main$/)
})

test('a second visitor of the setup link gets nothing', async () => {
  const other = await Visitor.arrive(w.browser)
  await other.page.goto(w.server.setup)
  await other.page.getByRole('heading', { name: 'This link does not work' }).waitFor()
  assert.equal(await other.page.locator('form, input').count(), 0)
  await other.page.context().close()
})

test('tabs open, are renamed and close, asking first when something runs', async () => {
  await page.getByRole('button', { name: 'New tab' }).click()
  await me.sees('sh-2', prompt('main'))
  await page.getByRole('tab', { name: 'sh-2' }).dblclick()
  await page.getByLabel('New name of tab sh-2').fill('build')
  await page.keyboard.press('Enter')
  await page.getByRole('tab', { name: 'build' }).waitFor()
  // A line typed before the command runs might be echoed by nobody.
  await me.run("echo re''ady; cat")
  await me.sees('build', /^ready$/m)
  await me.run('meow')
  await me.sees('build', /^meow\nmeow$/m)
  await page.keyboard.press('Alt+1')
  await page.getByRole('tab', { name: 'main', selected: true }).waitFor()
  await page.keyboard.press('Alt+Shift+ArrowRight')
  await page.getByRole('tab', { name: 'build', selected: true }).waitFor()
  await page.keyboard.press('Alt+Shift+W')
  await page.getByText('cat is running in it').waitFor()
  await page.getByRole('button', { name: 'Close tab', exact: true }).click()
  await page.getByRole('tab', { name: 'build' }).waitFor({ state: 'detached' })
  await page.getByRole('tab', { name: 'main', selected: true }).waitFor()
})

test('a second session has other processes and another name, and the same files at once', async () => {
  await me.run('(sleep 4242 &) ; echo moored > ~/shared.txt; echo done-$((1+1))')
  await me.sees('main', /^done-2$/m)
  await page.getByRole('button', { name: /switch or manage sessions/ }).click()
  await page.getByRole('menuitem', { name: 'New session' }).click()
  await page.getByLabel('Name', { exact: true }).fill('lab')
  await page.getByRole('button', { name: 'Open session' }).click()
  await page.waitForURL(/\/s\/lab$/)
  await me.sees('main', prompt('lab'))
  await me.run('cat ~/shared.txt; hostname; cat /proc/[0-9]*/cmdline | grep -ac 424[2]')
  await me.sees('main', /^moored\nlab\n0$/m)
  await page.getByRole('button', { name: /switch or manage sessions/ }).click()
  await page.getByRole('menuitem', { name: 'main' }).click()
  await page.waitForURL(/\/s\/main$/)
  await me.sees('main', prompt('main'))
  await me.run('cat /proc/[0-9]*/cmdline | grep -ac 424[2]')
  await me.sees('main', /^1$/m)
})

test('the terminal answers a program that asks, once, and no reload asks again', async () => {
  await me.run(`IFS= read -rs -d R -t 30 -p $'\\e[6n' at; echo "at-\${at#*[}"`)
  await me.sees('main', /^at-\d+;\d+$/m)
  await page.reload()
  await me.sees('main', /^at-\d+;\d+$/m)
  await me.sees('main', prompt('main'))
  await me.run('echo clean-$((1+2))')
  await me.sees('main', /\$ echo clean-\$\(\(1\+2\)\)\nclean-3$/m)
})

test('a reload comes back to the same shell', async () => {
  await me.run('LANTERN=still-lit')
  await page.reload()
  await me.sees('main', prompt('main'))
  await me.run('echo $LANTERN-$((3+4))')
  await me.sees('main', /^still-lit-7$/m)
})

test('a tab that nobody looks at, nor did since the reload, shows that it rang and how its command ended', async () => {
  await page.getByRole('button', { name: 'New tab' }).click()
  await me.sees('sh-2', prompt('main'))
  await me.run(`echo wait''ing; until [ -e ~/ring ]; do sleep 0.1; done; printf '\\a'; (exit 3)`)
  await me.sees('sh-2', /^waiting$/m)
  await page.keyboard.press('Alt+1')
  await page.getByRole('tab', { name: 'main', selected: true }).waitFor()
  await page.reload()
  await me.sees('main', prompt('main'))
  assert.equal(await page.evaluate(() => window.staithe.text('sh-2')), null, 'it has no screen in this page')
  await me.run('touch ~/ring')
  const tab = page.getByRole('tab', { name: 'rang sh-2' })
  await tab.waitFor()
  await tab.getByRole('img', { name: 'Command ended with code 3' }).waitFor()
  assert.match(await tab.getAttribute('title'), /^Command ended with code 3/)
  await tab.click()
  await page.getByRole('tab', { name: /^sh-2$/, selected: true }).waitFor()
  await me.sees('sh-2', prompt('main'))
  await me.run('exit')
  await page.getByText('Shell ended').waitFor()
  await page.keyboard.press('Alt+Shift+W')
  await page.getByRole('tab', { name: 'sh-2' }).waitFor({ state: 'detached' })
  await me.run('echo back-$((4+5))')
  await me.sees('main', /^back-9$/m)
})

test('the network drops and comes back: what was typed meanwhile arrives once', async () => {
  await me.linkIs('open')
  await page.context().setOffline(true)
  w.network.cut()
  await me.linkIs('offline')
  await me.run('echo "kept-$((5+5))" | tee -a ~/kept.txt')
  w.network.mend()
  await page.context().setOffline(false)
  await me.linkIs('open')
  await me.sees('main', /^kept-10$/m)
  await me.run('wc -l < ~/kept.txt; echo counted-$((6+6))')
  await me.sees('main', /^1\ncounted-12$/m)
})

test('the gateway is killed in the middle of a flood: every byte arrives, once', async () => {
  const start = await page.evaluate(() => window.staithe.offset('main'))
  await me.run("seq 1 200000; echo E''ND")
  await page.waitForFunction((from) => window.staithe.offset('main') > from, start + 60_000, { polling: 5 })
  await w.server.kill('SIGKILL')
  const lines = Array.from({ length: 200_000 }, (_, i) => `${i + 1}\r\n`).join('')
  const expected = `${lines}END\r\n`
  const cutAt = await page.evaluate(() => window.staithe.offset('main'))
  assert.ok(cutAt < start + expected.length, 'the flood was over before the kill')
  await me.run("echo ty''ped")
  await w.server.start()
  await me.sees('main', /^END$/m)
  await me.sees('main', /^typed$/m)
  await me.sees('main', prompt('main'))
  const stream = await me.stream('main')
  const at = stream.indexOf('1\r\n2\r\n3\r\n')
  assert.equal(sha256(stream.slice(at, at + expected.length)), sha256(expected))
  // Before it stands a line's end, or the mark of where the command begins.
  assert.equal(stream.match(/[\r\n\x07]typed\r\n/g)?.length, 1, 'typed ran exactly once')
  const { sha256: hash, from, offset } = await page.evaluate(() => window.staithe.received('main'))
  assert.equal(hash, sha256(stream))
  assert.equal(offset - from, stream.length)
})

test('an ended shell says its code, and Enter starts a new one', async () => {
  await me.run('exit 3')
  await page.getByText('Shell ended with code 3').waitFor()
  await page.keyboard.press('Enter')
  await page.getByText('Shell ended with code 3').waitFor({ state: 'detached' })
  await me.sees('main', prompt('main'))
  await me.run('echo fresh-$((7+7))')
  await me.sees('main', /^fresh-14$/m)
  assert.doesNotMatch(await me.text('main'), /exit 3/)
})

test('pasting several lines asks first', async () => {
  const paste = (text) =>
    page.evaluate((data) => {
      const clipboardData = new DataTransfer()
      clipboardData.setData('text/plain', data)
      const event = new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true })
      document.activeElement.dispatchEvent(event)
    }, text)
  await paste('echo never-run\n')
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await paste('echo asked-$((8+8))\n')
  await page.getByRole('dialog').getByRole('button', { name: 'Paste', exact: true }).click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  await me.sees('main', /asked-\$/)
  await page.keyboard.press('Enter')
  await me.sees('main', /^asked-16$/m)
  assert.doesNotMatch(await me.text('main'), /never-run/)
})

test("a program's link says where it leads before it opens, to a pointer and to a finger", async () => {
  const address = `${w.url}/elsewhere`
  await me.run(`clear; printf '\\e]8;;${address}\\e\\\\here\\e]8;;\\e\\\\\\n'`)
  await me.sees('main', /^here\n/)
  const screen = await page.locator('[data-tab=main] .xterm-screen').boundingBox()
  const [x, y] = [screen.x + 20, screen.y + 8]
  const shown = page.getByText(address, { exact: true })
  await page.mouse.move(x, y)
  await shown.waitFor()
  const opened = page.context().waitForEvent('page')
  await page.mouse.click(x, y)
  const other = await opened
  assert.equal(other.url(), address)
  await other.close()
  await page.mouse.move(x, y + 200)
  await shown.waitFor({ state: 'detached' })
  const devtools = await page.context().newCDPSession(page)
  const tap = (type, touchPoints) => devtools.send('Input.dispatchTouchEvent', { type, touchPoints })
  await tap('touchStart', [{ x, y }])
  await tap('touchEnd', [])
  const dialog = page.getByRole('dialog', { name: 'Open this link?' })
  await dialog.getByText(address, { exact: true }).waitFor()
  await dialog.getByRole('button', { name: 'Cancel' }).click()
  await dialog.waitFor({ state: 'detached' })
  await devtools.detach()
})

test("a program's notice names its tab and has one place", async () => {
  const notice = page.getByRole('status').getByText(/^A program in main\s+tide \d$/)
  await me.run(`for n in 1 2 3; do printf '\\e]9;tide %s\\e\\\\' $n; done`)
  await notice.filter({ hasText: 'tide 3' }).waitFor()
  assert.equal(await notice.count(), 1)
})

test('a sleeping session is shown asleep and wakes on a click only', async () => {
  await page.getByRole('button', { name: /switch or manage sessions/ }).click()
  await page.getByRole('menuitem', { name: 'Manage sessions' }).click()
  await page.getByRole('button', { name: 'Put main to sleep' }).click()
  await page.getByRole('button', { name: 'Wake main' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByRole('heading', { name: 'main is asleep' }).waitFor()
  await page.reload()
  await page.getByRole('heading', { name: 'main is asleep' }).waitFor()
  await page.getByRole('button', { name: 'Wake it' }).click()
  await me.sees('main', prompt('main'))
})

test('a new password cuts what the old one opened, and this page comes back by itself', async () => {
  await page.getByRole('button', { name: 'Account and settings' }).click()
  await page.getByRole('menuitem', { name: 'Change password' }).click()
  const dialog = page.getByRole('dialog')
  await dialog.getByLabel('Current password').fill(ada.password)
  await dialog.getByLabel('New password').fill('two lamps on the staithe')
  await dialog.getByRole('button', { name: 'Change password' }).click()
  await dialog.waitFor({ state: 'detached' })
  ada.password = 'two lamps on the staithe'
  await me.linkIs('open')
  await me.run('echo relit-$((4+4))')
  await me.sees('main', /^relit-8$/m)
})

test('log out, log in, and the shell is where it was', async () => {
  await me.run('PIER=north')
  await page.getByRole('button', { name: 'Account and settings' }).click()
  await page.getByRole('menuitem', { name: 'Log out' }).click()
  await page.waitForURL(/\/login$/)
  await page.goto(`${w.url}/s/main`)
  await page.waitForURL(/\/login$/)
  await page.getByLabel('User name').fill(ada.username)
  await page.getByLabel('Password', { exact: true }).fill('not the password')
  await page.getByRole('button', { name: 'Log in' }).click()
  await page.getByRole('alert').filter({ hasText: 'not right' }).waitFor()
  await page.getByLabel('Password', { exact: true }).fill(ada.password)
  await page.getByRole('button', { name: 'Log in' }).click()
  await me.sees('main', prompt('main'))
  await me.run('echo $PIER-$((9+9))')
  await me.sees('main', /^north-18$/m)
})

test('the page broke no policy and threw nothing', () => {
  assert.deepEqual(me.problems, [])
})

function sha256(latin1) {
  return createHash('sha256').update(Buffer.from(latin1, 'latin1')).digest('hex')
}
