// What a session's class is, what it may, and what happens to it, as a person sees it. It never reaches outside: what it
// asks for is refused before anything is sent.
import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { after, before, test } from 'node:test'
import { Visitor, world } from './harness.mjs'

process.env.STAITHE_CLASS = 'small.memory=128m; small.idle-freeze=never; bare.runtime=process; listed.network=allow-list; listed.allow=db.example.org:5432'

const ada = { username: 'ada', password: 'a lamp on the staithe' }
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
let w
let me
let page

before(async () => {
  w = await world()
  me = await Visitor.arrive(w.browser)
  page = me.page
  await me.begin(w.server, ada)
})

after(async () => {
  await w?.close(ada)
})

async function accessible(what) {
  await page.evaluate(() => Promise.all(document.getAnimations().map((a) => a.finished.catch(() => {}))))
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }))
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  assert.deepEqual(bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`), [], what)
}

async function fromMenu(item) {
  await page.getByRole('button', { name: /switch or manage sessions/ }).click()
  await page.getByRole('menuitem', { name: item }).click()
}

async function about(session) {
  await fromMenu(`About ${session}`)
  await page.getByRole('dialog').getByRole('heading', { name: session, exact: true }).waitFor()
}

async function make(name, chosen) {
  await fromMenu('New session')
  await page.getByLabel('Name', { exact: true }).fill(name)
  await page.getByRole('radio', { name: new RegExp(`^${chosen}`) }).check()
  await page.getByRole('button', { name: 'Open session' }).click()
  await page.waitForURL(new RegExp(`/s/${name}$`))
  await me.sees('main', new RegExp(`@${name}|\\$ ?$`))
}

test('a class is chosen with its boundary, its limits and its network in words', async () => {
  await fromMenu('New session')
  const dialog = page.getByRole('dialog')
  await dialog.getByRole('radio', { name: /^standard/, checked: true }).waitFor()
  await dialog.getByText(/kernel/).waitFor()
  await dialog.getByRole('radio', { name: /^small/ }).check()
  await dialog.getByText('128 MB memory').waitFor()
  await dialog.getByRole('radio', { name: /^listed/ }).check()
  await dialog.getByText('Only db.example.org:5432.').waitFor()
  await dialog.getByRole('radio', { name: /^bare/ }).check()
  await dialog.getByText(/nothing holds them/).waitFor()
  await dialog.getByText('Nothing is out of reach', { exact: false }).waitFor()
  assert.equal(await dialog.getByText(/other sessions are out of reach/).count(), 0)
  await accessible('class choice')
  await page.keyboard.press('Escape')
})

test('a session says its class and why it is awake, and is kept awake and let go', async () => {
  await about('main')
  const dialog = page.getByRole('dialog')
  await dialog.getByText(/You are connected/i).waitFor()
  await dialog.getByText(/kernel/).waitFor()
  await dialog.getByRole('button', { name: '2 h' }).click()
  await dialog.getByText(/Kept awake until/).waitFor()
  const until = await page.evaluate(async () => (await (await fetch('/api/v1/sessions/main')).json()).keep_awake_until)
  assert.ok(Math.abs(Date.parse(until) - Date.now() - 7_200_000) < 60_000, until)
  await accessible('session details')
  await dialog.getByRole('button', { name: 'End it' }).click()
  await dialog.getByText(/Kept awake until/).waitFor({ state: 'detached' })
  await page.keyboard.press('Escape')
})

test('a look that failed is forgotten with the next that does not', async () => {
  const look = /\/api\/v1\/sessions\/[a-z0-9]{12}$/
  let fails = 0
  await page.route(look, (route) => {
    fails++
    return route.fulfill({ status: 503, contentType: 'application/problem+json', json: { code: 'busy', detail: 'Not now, try again.' } })
  })
  await about('main')
  const dialog = page.getByRole('dialog')
  await dialog.getByText('Not now, try again.').waitFor()
  assert.ok(fails > 0)
  await page.unroute(look)
  await dialog.getByText('Not now, try again.').waitFor({ state: 'detached' })
  await page.keyboard.press('Escape')
})

test('what the network refuses is in the log, with the reason', async () => {
  await me.run('for a in 169.254.169.254 10.0.0.{1..9}; do timeout 5 bash -c "exec 3<>/dev/tcp/$a/80"; done; echo tried-$((2+3))')
  await me.sees('main', /^tried-5$/m)
  await about('main')
  const refused = page.getByRole('list', { name: 'Refused destinations' })
  await refused.getByText('169.254.169.254:80').waitFor()
  await refused.getByText('10.0.0.1:80').waitFor()
  await refused.getByText('10.0.0.9:80').waitFor() // more than is seen at once: the keyboard scrolls
  await accessible('refused destinations')
  await page.keyboard.press('Escape')
})

test('a program that the kernel ends for want of memory is named, until it is read', async () => {
  await make('tight', 'small')
  await me.run('python3 -c "x = bytearray(10**9)"; echo over-$((3+4))')
  await me.sees('main', /^over-7$/m)
  const bar = page.locator('[data-bar=notice]')
  await bar.getByText(/memory/).waitFor()
  await accessible('notice')
  await bar.getByRole('button', { name: 'Dismiss' }).click()
  await bar.waitFor({ state: 'detached' })
  await page.reload()
  await me.sees('main', /over-7/)
  assert.equal(await bar.count(), 0)
})

test('a session without isolation says so all the time', async () => {
  await make('open', 'bare')
  await page.locator('[data-bar=isolation]').getByText('No isolation.').waitFor()
  await accessible('no isolation')
  await page.reload()
  await page.locator('[data-bar=isolation]').getByText('No isolation.').waitFor()
  assert.match(w.server.stderr, /no isolation.*class=bare/)
})

test('a frozen session promises its shells, and has them at the wake', async () => {
  await page.goto(`${w.url}/s/main`)
  await me.sees('main', /tried-5/)
  await me.run('kept=here-$((4+5))')
  await about('main')
  await page.getByRole('button', { name: 'Put to sleep' }).click()
  await page.getByRole('dialog').getByText(/^Frozen since/).waitFor()
  await page.keyboard.press('Escape')
  await page.getByText('Its shells wait as they are; it wakes at once.').waitFor()
  await page.getByRole('button', { name: 'Wake it' }).click()
  await me.linkIs('open')
  await me.run('echo $kept')
  await me.sees('main', /^here-9$/m)
})

test('the page broke no policy and threw nothing', () => {
  assert.deepEqual(me.problems, [])
})
