// The files drawer, by clicking and typing, against what a shell sees of the same home.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { Visitor, world } from './harness.mjs'

const ada = { username: 'ada', password: 'a lamp on the staithe' }
const axe = await readFile(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')
let w
let me
let page
let here
let serial = 0

before(async () => {
  here = await mkdtemp(join(tmpdir(), 'staithe-files-'))
  w = await world()
  me = await Visitor.arrive(w.browser)
  page = me.page
  await me.begin(w.server, ada)
})

after(async () => {
  await w?.close(ada)
  await rm(here, { recursive: true, force: true })
})

const drawer = () => page.locator('[data-drawer]')
const grid = () => page.getByRole('treegrid', { name: 'Files' })
const row = (path) => page.locator(`[data-path=${JSON.stringify(path)}]`)
const toast = (text) => page.getByRole('status').getByText(text)
const keyboardIn = (selector) => page.waitForFunction((s) => document.activeElement?.matches(s), selector)
const button = (name) => page.getByRole('button', { name, exact: true })

/** Runs a line in the shell, and gives what it printed. */
async function shell(line) {
  const n = ++serial
  await page.locator('[data-tab=main] .xterm-helper-textarea').focus()
  // The quotes keep the marks out of the line that is typed.
  await me.run(`clear; echo be''gin-${n}; ${line}; echo; echo e''nd-${n}`)
  await me.sees('main', new RegExp(`^end-${n}$`, 'm'))
  return new RegExp(`^begin-${n}\n([^]*?)\n*^end-${n}$`, 'm').exec(await me.text('main'))[1].trim()
}

/** The drawer at the home, with the keyboard in it. */
async function openFiles(folder = '') {
  if ((await drawer().count()) === 0) await button('Files').click()
  else if ((await grid().count()) === 0) await drawer().getByRole('button', { name: 'Files', exact: true }).click()
  await crumb('Home').click()
  if (folder) await row(folder).dblclick()
  await grid().focus()
}

const crumb = (name) => page.getByRole('navigation', { name: 'Folder' }).getByRole('button', { name, exact: true })

async function menu(path, item) {
  await row(path).click({ button: 'right' })
  await page.getByRole('menuitem', { name: item }).click()
}

async function accessible(what) {
  await page.evaluate(axe)
  const { violations } = await page.evaluate(() => axe.run(document, { resultTypes: ['violations'] }))
  const bad = violations.filter(({ impact }) => impact === 'serious' || impact === 'critical')
  assert.deepEqual(bad.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' | ')}`), [], what)
}

test('the drawer opens by its key, takes no key from the shell before, and Escape gives the keyboard back', async () => {
  await shell('mkdir -p src/deep && echo one > a.txt && ln -s a.txt link && ln -s /etc/passwd out && echo x > src/deep/y && echo .h > .hid')
  await page.keyboard.press('Alt+Shift+F')
  await row('a.txt').waitFor()
  await keyboardIn('[role=treegrid]')
  await page.keyboard.press('Escape')
  await keyboardIn('.xterm-helper-textarea')
  assert.equal(await grid().count(), 1, 'it stays open')
  assert.equal(await shell('echo typed'), 'typed')
  await page.keyboard.press('Alt+Shift+F')
  await keyboardIn('[role=treegrid]')
  await page.keyboard.press('Alt+Shift+F')
  await grid().waitFor({ state: 'detached' })
  await keyboardIn('.xterm-helper-textarea')
  await button('Files').click()
  await keyboardIn('[role=treegrid]')
  await accessible('the drawer')
})

test('the tree is gone through by keyboard alone', async () => {
  await openFiles()
  await page.keyboard.press('Home')
  await page.locator('[role=row][aria-selected=true][data-path=src]').waitFor()
  await page.keyboard.press('ArrowRight')
  await row('src/deep').waitFor()
  assert.equal(await row('src').getAttribute('aria-expanded'), 'true')
  assert.equal(await row('src/deep').getAttribute('aria-level'), '2')
  await page.keyboard.press('ArrowRight')
  await page.keyboard.press('Enter')
  await row('src/deep/y').waitFor()
  await crumb('deep').waitFor()
  await page.keyboard.press('Backspace')
  await page.keyboard.press('Backspace')
  await row('a.txt').waitFor()
  await page.keyboard.type('a.')
  await page.locator('[aria-selected=true][data-path="a.txt"]').waitFor()
  const id = await grid().getAttribute('aria-activedescendant')
  assert.equal(await page.locator(`[id="${id}"]`).getAttribute('data-path'), 'a.txt')
  await page.keyboard.press('Shift+End')
  assert.ok((await page.locator('[role=row][aria-selected=true]').count()) > 1)
  await page.keyboard.press('Control+a')
  assert.equal(await page.locator('[role=row][aria-selected=false]').count(), 0)
})

test('links show where they lead, hidden files come when asked for', async () => {
  assert.match(await row('link').innerText(), /link\s*→ a\.txt/)
  assert.match((await row('out').getByRole('gridcell').first().getAttribute('title')) ?? '', /outside the home/)
  assert.equal(await row('.hid').count(), 0)
  await button('More').click()
  await page.getByRole('menuitemcheckbox', { name: 'Hidden files' }).click()
  await row('.hid').waitFor()
  await button('More').click()
  await page.getByRole('menuitemcheckbox', { name: 'Hidden files' }).click()
  await row('.hid').waitFor({ state: 'detached' })
})

test('TestAbuse27_Page: hostile names are only names', async () => {
  const names = ['<img src=x onerror=window.pwned=1>', '$(touch pwned)', '-rf', '&lt;b&gt;', '`id`', "'; drop", '${x}']
  await shell(`mkdir evil; cd evil; touch -- ${names.map((n) => `'${n.replaceAll("'", `'\\''`)}'`).join(' ')} $'esc\\e]0;x\\a' $'two\\nlines' $'\\xff' $'a\\u202egpj'; cd`)
  await openFiles()
  await button('More').click()
  await page.getByRole('menuitem', { name: 'List again' }).click()
  await row('evil').dblclick()
  await row('evil/-rf').waitFor()
  const seen = (await grid().locator('[role=row][data-path] bdi').allTextContents()).sort()
  assert.deepEqual(seen, [...names, 'esc‹U+001B›]0;x‹U+0007›', 'two‹U+000A›lines', '‹FF›', 'a‹U+202E›gpj'].sort())
  assert.equal(await grid().locator('img, b').count(), 0)
  for (const path of ['evil/<img src=x onerror=window.pwned=1>', 'evil/%FF', 'evil/esc%1B]0;x%07', 'evil/two%0Alines']) {
    await row(path).click()
    await grid().focus()
    await page.keyboard.press('Delete')
    await row(path).waitFor({ state: 'detached' })
  }
  await menu('evil/$(touch pwned)', 'Rename')
  await page.getByLabel('Name', { exact: true }).fill('`reboot`%41')
  await button('Rename').click()
  await row('evil/`reboot`%2541').waitFor()
  assert.equal(await shell('ls -b evil | wc -l; test -e pwned || echo inert'), '7\ninert')
  assert.equal(await shell("ls -d 'evil/`reboot`%41' | cat"), 'evil/`reboot`%41')
  assert.equal(await page.evaluate(() => window.pwned), undefined)
  await crumb('Home').click()
  await row('evil').waitFor()
})

test('a folder and a file are made, renamed, moved by dialog and by dragging, copied, and undone', async () => {
  await openFiles()
  await row('a.txt').click()
  await button('New').click()
  await page.getByRole('menuitem', { name: 'New folder' }).click()
  await page.getByLabel('Name', { exact: true }).fill('a/b')
  await button('Make').click()
  await page.getByText('A name has no slash.').waitFor()
  await page.getByLabel('Name', { exact: true }).fill('plans')
  await page.keyboard.press('Enter')
  await row('plans').waitFor()
  await keyboardIn('[role=treegrid]')
  await row('a.txt').click()
  await page.keyboard.press('F2')
  await page.getByLabel('Name', { exact: true }).fill('b.txt')
  await page.keyboard.press('Enter')
  await row('b.txt').waitFor()
  await button('Undo').last().click()
  await row('a.txt').waitFor()
  await row('b.txt').waitFor({ state: 'detached' })
  await row('a.txt').dragTo(row('plans'))
  await row('a.txt').waitFor({ state: 'detached' })
  assert.equal(await shell('cat plans/a.txt'), 'one')
  await button('Undo').last().click()
  await row('a.txt').waitFor()
  await menu('a.txt', 'Copy to')
  await page.getByRole('dialog').getByRole('button', { name: 'plans' }).click()
  await page.getByRole('dialog').getByText('No folders in here.').waitFor()
  await page.getByRole('button', { name: 'Copy here' }).click()
  await toast('Copied 1 thing to plans.').waitFor()
  await shell('echo two > a.txt')
  await openFiles()
  await menu('a.txt', 'Move to')
  await page.getByRole('dialog').getByRole('button', { name: 'plans' }).click()
  await page.getByRole('button', { name: 'Move here' }).click()
  await page.getByRole('dialog', { name: 'a.txt is there already' }).getByRole('button', { name: 'Keep both' }).click()
  await toast('Moved 1 thing to plans.').waitFor()
  assert.equal(await shell("cat plans/a.txt 'plans/a (2).txt'"), 'one\ntwo')
})

test('what is deleted goes to the trash, comes back, and is deleted for good only after a question', async () => {
  await openFiles()
  await row('plans').click()
  await page.keyboard.press('Delete')
  await row('plans').waitFor({ state: 'detached' })
  await button('Undo').last().click()
  await row('plans').waitFor()
  await keyboardIn('[role=treegrid]')
  await row('plans').click()
  await page.keyboard.press('Delete')
  await row('plans').waitFor({ state: 'detached' })
  await drawer().getByRole('button', { name: 'Trash' }).click()
  await button('Put plans back').click()
  await button('Put plans back').waitFor({ state: 'detached' })
  assert.match(await shell('ls plans'), /a\.txt/)
  await drawer().getByRole('button', { name: 'Empty it' }).click()
  await page.getByRole('dialog').getByRole('button', { name: 'Delete for good' }).click()
  await page.getByText('The trash is empty.').waitFor()
  await accessible('the trash')
  await drawer().getByRole('button', { name: 'Files', exact: true }).click()
})

test('permissions are changed', async () => {
  await openFiles('plans')
  await menu('plans/a.txt', 'Permissions')
  await page.getByRole('group', { name: 'You' }).getByLabel('Run').check()
  await page.getByRole('dialog').getByText('rwxr--r--').waitFor()
  await accessible('permissions')
  await button('Change').click()
  await page.getByRole('dialog').waitFor({ state: 'detached' })
  assert.equal(await shell('stat -c %a plans/a.txt'), '744')
})

test('a text is edited, saved, and never over what somebody else wrote', async () => {
  await openFiles('plans')
  await row('plans/a.txt').dblclick()
  const text = page.getByRole('textbox', { name: 'Text of a.txt' })
  await text.waitFor()
  await keyboardIn('.cm-content')
  await page.keyboard.press('Control+End')
  await page.keyboard.type('from the page')
  await accessible('the editor')
  await page.keyboard.press('Control+s')
  await page.getByRole('status').getByText('Saved', { exact: true }).waitFor({ state: 'attached' })
  assert.equal(await shell('cat plans/a.txt; stat -c %a plans/a.txt'), 'one\nfrom the page744')
  await text.click()
  await page.keyboard.press('Control+End')
  await page.keyboard.type('!')
  await shell('echo theirs > plans/a.txt')
  await text.click()
  await page.keyboard.press('Control+s')
  await drawer().getByRole('alert').getByText(/has changed on disk/).waitFor()
  assert.equal(await page.getByRole('region', { name: 'What is on disk' }).locator('pre').innerText(), 'theirs\n')
  assert.equal(await shell('cat plans/a.txt'), 'theirs')
  await button('Save as').click()
  await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('mine.txt')
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click()
  await page.getByRole('heading', { name: 'mine.txt' }).waitFor()
  assert.equal(await shell('cat plans/a.txt plans/mine.txt'), 'theirs\none\nfrom the page!')
  await page.getByRole('textbox', { name: 'Text of mine.txt' }).click()
  await page.keyboard.type('unsaved')
  await page.locator('[data-safety]').click()
  await page.getByRole('dialog', { name: 'Save mine.txt?' }).getByRole('button', { name: 'Go on editing' }).click()
  await page.getByRole('textbox', { name: 'Text of mine.txt' }).waitFor()
  await button('Back to the files').click()
  await page.getByRole('dialog', { name: 'Save mine.txt?' }).getByRole('button', { name: 'Throw away' }).click()
  await row('plans/mine.txt').waitFor()
  await keyboardIn('[role=treegrid]')
})

test('what is no text is offered as a download, and comes as it is', async () => {
  await shell('head -c 70000 /dev/urandom > plans/blob; sha256sum plans/blob | cut -c1-64 > plans/sum')
  const sum = await shell('cat plans/sum')
  await openFiles('plans')
  await row('plans/blob').dblclick()
  await drawer().getByText('It is no text in UTF-8.').waitFor()
  const [download] = await Promise.all([page.waitForEvent('download'), button('Download it').click()])
  assert.equal(download.suggestedFilename(), 'blob')
  assert.equal(createHash('sha256').update(await readFile(await download.path())).digest('hex'), sum)
  await button('Back to the files').click()
  await crumb('Home').click()
  await row('plans').click({ button: 'right' })
  const [zip] = await Promise.all([page.waitForEvent('download'), page.getByRole('menuitem', { name: 'Download as zip' }).click()])
  assert.equal(zip.suggestedFilename(), 'plans.zip')
  assert.equal((await readFile(await zip.path())).subarray(0, 2).toString(), 'PK')
})

test('names and contents are found, and a search is stopped', async () => {
  await drawer().getByRole('button', { name: 'Search' }).click()
  await page.getByRole('searchbox', { name: 'A part of a name' }).fill('mine')
  await page.keyboard.press('Enter')
  await drawer().getByRole('button', { name: 'plans/mine.txt' }).waitFor()
  await drawer().getByText('1 match').waitFor()
  await page.getByLabel('In files').check()
  await page.getByRole('searchbox').fill('theirs')
  await page.keyboard.press('Enter')
  await drawer().getByRole('button', { name: 'plans/a.txt:1' }).click()
  await page.getByRole('textbox', { name: 'Text of a.txt' }).waitFor()
  await button('Back to the files').click()
  await page.getByRole('searchbox').fill('nowhere-at-all')
  await page.keyboard.press('Enter')
  await drawer().getByText('0 matches').waitFor()
  await accessible('search')
  await drawer().getByRole('button', { name: 'Files', exact: true }).click()
})

test('a folder of 10,000 names is drawn a window at a time', async () => {
  await shell('mkdir many && cd many && seq -f f%05g 1 10000 | xargs touch; cd')
  await openFiles()
  await button('More').click()
  await page.getByRole('menuitem', { name: 'List again' }).click()
  await row('many').dblclick()
  await drawer().getByText('10,000 things').waitFor()
  assert.ok((await page.locator('[role=row][data-path]').count()) < 100)
  assert.equal(await grid().getAttribute('aria-rowcount'), '10001')
  await page.keyboard.press('End')
  await page.locator('[aria-selected=true][data-path="many/f10000"]').waitFor()
  await page.keyboard.type('f05000')
  await page.locator('[aria-selected=true][data-path="many/f05000"]').waitFor()
  await crumb('Home').click()
  await row('many').waitFor()
})

test('what a shell does is seen at once', async () => {
  await openFiles()
  await shell('mkdir lively; echo 1 > lively/one')
  await row('lively').waitFor()
  await row('lively').dblclick()
  await row('lively/one').waitFor()
  await shell('cd lively; mv one two; mkdir in; echo 12345 > in/x; cd')
  await row('lively/two').waitFor()
  await row('lively/one').waitFor({ state: 'detached' })
  await row('lively/in').click()
  await grid().focus()
  await page.keyboard.press('ArrowRight')
  await row('lively/in/x').getByText('6 bytes').waitFor()
  await shell('rm -r lively/in; cd lively && git init -q && cd')
  await row('lively/in').waitFor({ state: 'detached' })
  await row('lively/two').locator('[data-git=U]').waitFor()
  await page.locator('[data-path="lively/two"]').dblclick()
  const text = page.getByRole('textbox', { name: 'Text of two' })
  await text.waitFor()
  await shell('echo from the shell > lively/two')
  await text.getByText('from the shell').waitFor()
  await text.click()
  await page.keyboard.type('mine ')
  await shell('echo again > lively/two')
  await drawer().getByText('This file has changed on disk.').waitFor()
  await button('Take what is on disk').click()
  await text.getByText('again').waitFor()
  await button('Back to the files').click()
})

/** A file of this machine whose bytes are not all the same. */
async function local(name, bytes) {
  const path = join(here, name)
  await mkdir(dirname(path), { recursive: true })
  await writeFile(path, Buffer.from(Array.from({ length: bytes / 64 }, (_, n) => String(n).padStart(63, '.') + '\n').join('')))
  return path
}

async function sumOf(path) {
  return createHash('sha256').update(await readFile(path)).digest('hex')
}

const inHome = (path) => shell(`sha256sum '${path}' | cut -c1-64`)

/** What the page sends goes so many bytes in a second; 0: as fast as can be. */
async function slow(bytes) {
  const cdp = await page.context().newCDPSession(page)
  await cdp.send('Network.enable')
  await cdp.send('Network.emulateNetworkConditions', { offline: false, latency: 0, downloadThroughput: -1, uploadThroughput: bytes || -1 })
}

test('files and whole folders are uploaded, by button and by dropping; a conflict is asked about', async () => {
  await openFiles()
  await local('cargo/deep/a.txt', 640)
  await local('cargo/100% b.txt', 64)
  await button('Upload').click()
  await page.getByRole('menuitem', { name: 'Upload files' }).waitFor()
  await page.keyboard.press('Escape')
  await page.getByLabel('Folder to upload').setInputFiles(join(here, 'cargo'))
  await drawer().getByRole('heading', { name: '2 files uploaded' }).waitFor()
  await row('cargo').waitFor()
  assert.equal(await inHome('cargo/deep/a.txt'), await sumOf(join(here, 'cargo/deep/a.txt')))
  assert.equal(await inHome('cargo/100% b.txt'), await sumOf(join(here, 'cargo/100% b.txt')))
  await button('Clear').click()
  const dropped = await page.evaluateHandle(() => {
    const data = new DataTransfer()
    data.items.add(new File(['dropped'], 'drop.txt'))
    return data
  })
  for (const type of ['dragover', 'drop']) await row('cargo').dispatchEvent(type, { dataTransfer: dropped })
  await drawer().getByRole('heading', { name: '1 file uploaded' }).waitFor()
  assert.equal(await shell('cat cargo/drop.txt'), 'dropped')
  await shell('echo here first > cargo/drop.txt')
  for (const type of ['dragover', 'drop']) await row('cargo').dispatchEvent(type, { dataTransfer: dropped })
  await page.getByRole('dialog', { name: 'drop.txt is there already' }).getByRole('button', { name: 'Keep both' }).click()
  await drawer().getByRole('heading', { name: '2 files uploaded' }).waitFor()
  for (const type of ['dragover', 'drop']) await row('cargo').dispatchEvent(type, { dataTransfer: dropped })
  await page.getByRole('dialog', { name: 'drop.txt is there already' }).getByRole('button', { name: 'Replace' }).click()
  await drawer().getByRole('heading', { name: '3 files uploaded' }).waitFor()
  assert.equal(await shell("cat cargo/drop.txt; echo; cat 'cargo/drop (2).txt'"), 'dropped\ndropped')
  await button('Clear').click()
})

test('an upload is paused, goes on, survives a killed server, and is whole', async () => {
  await openFiles()
  const path = await local('big.bin', 12 << 20)
  await slow(1 << 20)
  await page.getByLabel('Files to upload').setInputFiles(path)
  const all = page.getByRole('progressbar', { name: 'All uploads' })
  await page.waitForFunction(() => Number(document.querySelector('[aria-label="All uploads"]')?.ariaValueNow) >= 5)
  await drawer().getByRole('heading', { name: /Uploading 1 file · \d+% · .*\/s · .* left/ }).waitFor()
  assert.equal(await shell('ls big.bin 2>&1 | grep -c cannot'), '1', 'it has no name before it is whole')
  await button('Pause big.bin').click()
  await page.locator('[data-upload=paused]').waitFor()
  const at = Number(await all.getAttribute('aria-valuenow'))
  await button('Go on with big.bin').click()
  await page.waitForFunction((at) => Number(document.querySelector('[aria-label="All uploads"]').ariaValueNow) > at + 5, at)
  await w.server.kill('SIGKILL')
  await drawer().getByText(/goes on by itself/).waitFor()
  await slow(0)
  await w.server.start()
  await drawer().getByRole('heading', { name: '1 file uploaded' }).waitFor()
  await me.linkIs('open')
  assert.equal(await inHome('big.bin'), await sumOf(path))
  await button('Clear').click()
})

test('an upload that a reload broke off goes on once its file is given again', async () => {
  const path = await local('later.bin', 8 << 20)
  await openFiles()
  await slow(1 << 20)
  await page.getByLabel('Files to upload').setInputFiles(path)
  await page.waitForFunction(() => Number(document.querySelector('[aria-label="All uploads"]')?.ariaValueNow) >= 20)
  page.once('dialog', (dialog) => dialog.accept())
  await page.reload()
  await me.linkIs('open')
  await slow(0)
  const before = page.getByRole('region', { name: 'Uploads of before' })
  await before.getByText('later.bin').waitFor()
  await accessible('uploads of before')
  let sent = 0
  page.on('request', (request) => {
    if (request.method() === 'PATCH') sent += Number(request.headers()['upload-offset'])
  })
  await page.getByLabel('Files to go on with').setInputFiles(path)
  await drawer().getByRole('heading', { name: '1 file uploaded' }).waitFor()
  await before.waitFor({ state: 'detached' })
  assert.ok(sent > 0, 'it went on, and did not begin anew')
  assert.equal(await inHome('later.bin'), await sumOf(path))
})

test('the bar says how safe the files are, and its panel lists snapshots, without asking all the time', async () => {
  const chip = page.locator('[data-safety]')
  await page.locator('[data-safety=good]').waitFor()
  assert.match(await chip.getAttribute('aria-label'), /^Backups: Safe .*(ago|now)/)
  let asked = 0
  const counted = (request) => (asked += Number(/\/(backups|restores)/.test(request.url())))
  page.on('request', counted)
  await chip.click()
  await drawer().getByRole('button', { name: 'Make one now' }).waitFor()
  await drawer().getByRole('region', { name: 'Today' }).getByRole('button').first().waitFor()
  await keyboardIn('[data-drawer] button')
  await accessible('backups')
  await page.waitForResponse(/backups\/state/)
  await page.waitForResponse(/backups\/state/)
  page.off('request', counted)
  assert.ok(asked < 15, `asked ${asked} times in about 10 s`)
})

/** Waits until a snapshot that was begun after now is listed, and opens it. */
async function freshSnapshot() {
  const after = await page.evaluate(() => Date.now())
  await drawer().getByRole('button', { name: 'Backups', exact: true }).click()
  await drawer().getByRole('button', { name: 'Make one now' }).click()
  await page.waitForFunction(
    (after) => Date.parse(document.querySelector('[data-drawer] time[datetime]')?.dateTime ?? '') > after,
    after,
  )
  await drawer().locator('li button:has(time)').first().click()
}

test('a snapshot is gone through, a file of it downloaded, and restored in place, with undo, and beside', async () => {
  await shell("mkdir -p old/sub; echo before > 'old/sub/log $x.txt'; echo gone > old/lost")
  await freshSnapshot()
  await shell("echo after > 'old/sub/log $x.txt'; rm old/lost")
  const was = page.getByRole('list', { name: 'The folder as it was' })
  await was.getByRole('button', { name: 'old', exact: true }).click()
  await was.getByRole('button', { name: 'sub', exact: true }).click()
  const [file] = await Promise.all([page.waitForEvent('download'), was.getByRole('button', { name: 'Download log $x.txt' }).click()])
  assert.equal((await readFile(await file.path())).toString(), 'before\n')
  await crumb('old').click()
  // The first question, which nobody answers, is called off when another is asked.
  const silent = (route) => (route.request().postDataJSON().where === 'beside' ? undefined : route.continue())
  await page.route('**/preview', silent)
  const calledOff = page.waitForEvent('requestfailed', (request) => request.url().endsWith('/preview'))
  await button('Restore this folder').click()
  const dialog = page.getByRole('dialog', { name: 'Restore old?' })
  await dialog.getByLabel(/In its place/).check()
  await calledOff
  await page.unroute('**/preview', silent)
  await dialog.getByRole('list', { name: 'What would change' }).getByText('old/lost').waitFor()
  await accessible('the preview of a restore')
  await dialog.getByRole('button', { name: 'Restore in place' }).click()
  await page.locator('[data-restore=done]').getByText(/old was restored in its place/).waitFor()
  assert.equal(await shell("cat 'old/sub/log $x.txt' old/lost"), 'before\ngone')
  await drawer().getByRole('button', { name: 'Undo', exact: true }).first().click()
  await page.getByRole('dialog', { name: 'Undo the restore of old?' }).getByRole('button', { name: 'Undo it' }).click()
  await page.locator('[data-restore=undone]').waitFor()
  assert.equal(await shell("cat 'old/sub/log $x.txt'; ls old"), 'after\nsub')
  await drawer().locator('li button:has(time)').nth(0).waitFor()
  await drawer().locator('li button:has(time)').filter({ hasText: 'asked for' }).first().click()
  await was.getByRole('button', { name: 'Restore old' }).click()
  await page.getByRole('dialog', { name: 'Restore old?' }).getByRole('button', { name: 'Restore beside' }).click()
  const done = page.locator('[data-restore=done]').getByText(/old was restored as /)
  await done.waitFor()
  const into = /restored as (.*), /.exec(await done.innerText())[1]
  assert.equal(await shell(`cat '${into}/lost'; ls old`), 'gone\nsub')
})

test('nothing went wrong in the page, and no policy was broken', () => assert.deepEqual(me.problems, []))
