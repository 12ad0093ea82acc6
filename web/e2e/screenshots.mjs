// Takes the pictures in ../doc/screenshots from a real server: `make screenshots`.
import { mkdir } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'
import { TIMEOUT, world } from './harness.mjs'

const OUT = fileURLToPath(new URL('../../doc/screenshots/', import.meta.url))
const user = { username: 'ada', password: 'correct horse battery' }

await mkdir(OUT, { recursive: true })
const w = await world()
try {
  const setup = await w.browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'dark' })
  await setup.goto(w.server.setup)
  await setup.getByLabel('User name').waitFor({ timeout: TIMEOUT })
  await setup.screenshot({ path: `${OUT}setup.png` })
  await setup.getByLabel('User name').fill(user.username)
  await setup.getByLabel('Password', { exact: true }).fill(user.password)
  await setup.keyboard.press('Enter')
  await shows(setup, 'ada@main')
  await setup.keyboard.type('git init -q boat && cd boat && printf "print(42)\\n" > tide.py && clear\n')
  await setup.keyboard.type('git add -A && git status && ls -la --color && python3 tide.py\n')
  await shows(setup, '\n42')
  await setup.keyboard.press('Alt+Shift+T')
  await setup.locator('[data-tab="sh-2"]').waitFor({ timeout: TIMEOUT })
  await setup.getByRole('tab', { name: /main/ }).click()
  await shows(setup, '\n42')
  await setup.screenshot({ path: `${OUT}terminal-dark.png` })
  await setup.getByRole('button', { name: /switch or manage sessions/ }).click()
  await setup.getByRole('menuitem', { name: 'About main' }).click()
  await setup.getByRole('dialog').getByText('Terminals', { exact: true }).waitFor({ timeout: TIMEOUT })
  await settled(setup)
  await setup.screenshot({ path: `${OUT}session-dark.png` })
  await setup.keyboard.press('Escape')
  await setup.getByRole('dialog').waitFor({ state: 'detached' })
  await drawerShots(setup)
  const state = await setup.context().storageState()
  await setup.close()

  for (const [name, options] of [
    ['terminal-light', { viewport: { width: 1280, height: 800 }, colorScheme: 'light' }],
    ['phone-dark', { viewport: { width: 390, height: 844 }, colorScheme: 'dark', hasTouch: true, isMobile: true }],
  ]) {
    const page = await w.browser.newPage({ ...options, storageState: state })
    await page.goto(`${w.url}/s/main`)
    await shows(page, '42')
    await page.screenshot({ path: `${OUT}${name}.png` })
    if (options.isMobile) {
      await page.getByRole('button', { name: 'Files', exact: true }).tap()
      await page.locator('[data-path=boat]').waitFor({ timeout: TIMEOUT })
      await settled(page)
      await page.screenshot({ path: `${OUT}files-phone.png` })
    }
    await page.close()
  }
} finally {
  await w.close(user)
}

/** The drawer: the tree with an upload done, a file in the editor, and the backups. */
async function drawerShots(page) {
  const drawer = page.locator('[data-drawer]')
  await page.keyboard.press('Alt+Shift+F')
  await page.locator('[data-path=boat]').click()
  await page.keyboard.press('ArrowRight')
  await page.locator('[data-path="boat/tide.py"]').waitFor({ timeout: TIMEOUT })
  await page.getByLabel('Files to upload').setInputFiles({ name: 'chart.svg', mimeType: 'image/svg+xml', buffer: Buffer.alloc(300_000, 32) })
  await drawer.getByText('1 file uploaded').waitFor({ timeout: TIMEOUT })
  await page.locator('[data-safety=good]').waitFor({ timeout: TIMEOUT })
  await settled(page)
  await page.screenshot({ path: `${OUT}files-dark.png` })
  await drawer.getByRole('button', { name: 'Clear' }).click()
  await page.locator('[data-path="boat/tide.py"]').dblclick()
  await drawer.getByRole('textbox', { name: 'Text of tide.py' }).waitFor({ timeout: TIMEOUT })
  await settled(page)
  await page.screenshot({ path: `${OUT}edit-dark.png` })
  await page.locator('[data-safety]').click()
  await drawer.locator('time').first().waitFor({ timeout: TIMEOUT })
  await settled(page)
  await page.screenshot({ path: `${OUT}backups-dark.png` })
  await drawer.getByRole('button', { name: 'Close the drawer' }).click()
  await drawer.waitFor({ state: 'detached' })
}

/** Waits until nothing moves but what never ends, such as a cursor that blinks. */
async function settled(page) {
  await page.evaluate(() => {
    const ending = document.getAnimations().filter((a) => Number.isFinite(a.effect?.getComputedTiming().endTime))
    return Promise.all(ending.map((a) => a.finished.catch(() => {})))
  })
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
}

/** Waits until a terminal of the page holds a text. */
async function shows(page, text) {
  await page.waitForFunction((t) => window.staithe?.text('main')?.includes(t), text, { timeout: TIMEOUT })
  // Text in the buffer is drawn with the next frames.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))
}
