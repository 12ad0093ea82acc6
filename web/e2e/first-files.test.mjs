// The files that a home begins with: seen to come, and said when they do not.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, afterEach, before, test } from 'node:test'
import { Visitor, world } from './harness.mjs'

const ada = { username: 'ada', password: 'a lamp on the staithe' }
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
const shots = process.env.STAITHE_SHOTS
let here
let w
let me
let page

before(async () => {
  here = await mkdtemp(join(tmpdir(), 'staithe-first-'))
})

afterEach(() => w?.close(ada))

after(() => rm(here, { recursive: true, force: true }))

/** A server whose homes begin with this, and somebody in a first shell of it with the files open. */
async function begin(template) {
  process.env.STAITHE_HOME_TEMPLATE = template
  w = await world()
  me = await Visitor.arrive(w.browser)
  page = me.page
  await me.begin(w.server, ada)
  await page.getByRole('button', { name: 'Files', exact: true }).click()
}

const line = (state, where = page) => where.locator(`[data-first-files=${state}]`)

async function accessible(what) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }))
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  assert.deepEqual(bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`), [], what)
}

async function shoot(name, what = page) {
  if (shots) await what.screenshot({ path: join(shots, `${name}.png`) })
}

/** Another page of the same person, on a phone. */
async function openPhone() {
  const phone = await w.browser.newPage({
    viewport: { width: 390, height: 844 },
    hasTouch: true,
    isMobile: true,
    storageState: { ...(await page.context().storageState()), origins: [] },
  })
  await phone.goto(`${w.url}/s/main`)
  await phone.getByRole('button', { name: 'Files', exact: true }).tap()
  return phone
}

test('files that are on their way are said to be, and the line goes when they are there', async () => {
  const pipe = join(here, 'begin.tar')
  execFileSync('mkfifo', [pipe])
  await writeFile(join(here, 'notes.txt'), Buffer.alloc(20_000, 'n'))
  const archive = execFileSync('tar', ['-C', here, '-c', 'notes.txt'])
  await begin(pipe)
  await line('pending').getByRole('status').getByText('Fetching your home’s first files…').waitFor()
  await page.locator('[data-drawer]').getByText('0 things').waitFor()
  // Both ends, as for one alone it would wait for the other; the server reads what comes.
  const out = createWriteStream(pipe, { flags: 'r+' })
  await new Promise((done) => out.write(archive.subarray(0, 8192), done))
  await line('pending').getByText(/^\d+(\.\d)? KB$/).waitFor()
  await accessible('files on their way')
  await shoot('first-pending')
  await new Promise((done) => out.end(archive.subarray(8192), done))
  await page.locator('[data-path="notes.txt"]').waitFor()
  await line('pending').waitFor({ state: 'detached' })
  assert.equal(await line('failed').count(), 0)
  let asked = 0
  page.on('request', (request) => (asked += Number(request.url().endsWith('/workstation/template'))))
  await page.waitForResponse(/backups\/state/)
  await page.waitForResponse(/backups\/state/)
  assert.equal(asked, 0, 'what is done is not asked about any more')
  assert.deepEqual(me.problems, [])
})

test('files that do not come are said to be missing, with why, until that is dismissed', async () => {
  await begin(join(here, 'secret-place', 'nowhere'))
  const said = line('failed').getByRole('status')
  await said.getByText(/did not come from nowhere\. The template is not where .* Your home works without them/).waitFor()
  assert.doesNotMatch(await said.innerText(), /secret-place/)
  await accessible('files that did not come')
  await shoot('first-failed')
  const phone = await openPhone()
  await line('failed', phone).waitFor()
  const box = await phone.getByRole('button', { name: 'Dismiss' }).boundingBox()
  assert.ok(box.width >= 44 && box.height >= 44, JSON.stringify(box))
  assert.equal(await phone.evaluate(() => document.documentElement.scrollWidth), 390)
  await shoot('first-failed-phone', phone)
  await phone.close()
  await page.getByRole('button', { name: 'Dismiss' }).focus()
  await page.keyboard.press('Enter')
  await line('failed').waitFor({ state: 'detached' })
  await page.waitForFunction(() => document.activeElement?.matches('[role=treegrid]'))
  const answered = page.waitForResponse(/workstation\/template/)
  await page.reload()
  assert.equal((await (await answered).json()).state, 'failed')
  await page.locator('[data-drawer]').getByRole('treegrid').waitFor()
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
  assert.equal(await line('failed').count(), 0, 'it stays dismissed')
  assert.deepEqual(me.problems, [])
})
