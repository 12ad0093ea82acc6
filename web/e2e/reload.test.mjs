// A reload shows, cell by cell, what was there: the programs do not draw again.
import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { TIMEOUT, Visitor, world } from './harness.mjs'

const ada = { username: 'ada', password: 'a lamp on the staithe' }
const prompt = /ada@main:[^\n]*\$ ?$/
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

const cells = () => page.evaluate(() => window.staithe?.cells('main') ?? null)

/** What is shown once nothing has changed for a while. */
async function settled() {
  let before = null
  for (const end = Date.now() + TIMEOUT; Date.now() < end; ) {
    const now = await cells()
    if (now && JSON.stringify(now) === JSON.stringify(before)) return now
    before = now
    await page.waitForTimeout(700)
  }
  throw new Error('the screen never stands still')
}

async function sameAfterReload() {
  const was = await settled()
  await page.reload()
  await page.waitForFunction((n) => window.staithe?.cells('main')?.length === n, was.length, { timeout: TIMEOUT })
  let is = []
  for (const end = Date.now() + 10_000; Date.now() < end; ) {
    is = await cells()
    if (JSON.stringify(is) === JSON.stringify(was)) break
    await page.waitForTimeout(50)
  }
  assert.deepEqual(is, was)
  return is
}

/** The server as it is reached while the page's own link is down. */
async function aside() {
  const cookies = await page.context().cookies()
  const Origin = `http://127.0.0.1:${w.server.port}`
  const headers = { Origin, Cookie: cookies.map(({ name, value }) => `${name}=${value}`).join('; ') }
  return (path, init) => fetch(`${Origin}/api/v1${path}`, { ...init, headers })
}

/**
 * Runs a program, looks, and ends it. A shell that ignores changes of size starts it, so that it draws once.
 * What it shows does not stand so in the line that is typed: else the look could be too early.
 */
function scene(name, line, shows, end) {
  test(name, async () => {
    await me.run(`clear; ${line}`)
    await me.sees('main', shows)
    await sameAfterReload()
    await page.locator('.xterm-helper-textarea').first().focus()
    await end()
    await me.sees('main', prompt)
  })
}

const quietly = (script) => `(trap '' WINCH; stty -echo; ${script}; read -rs; stty echo)`
const enter = () => page.keyboard.press('Enter')

scene('vim', 'vim -u NONE -c "syntax on" -c "set number" /etc/profile', /"\/etc\/profile" .*\d+(L| lines)/, async () => {
  await page.keyboard.type(':q!')
  await enter()
})

scene(
  'tmux with panes',
  `tmux -f /dev/null new-session -d -s t 'printf "left 漢字\\n"; cat' \\; set -g status-right '' \\; bind -n C-c kill-server \\; split-window -h 'printf "\\033[44mright\\033[0m\\n"; cat' \\; split-window 'seq 1 50; cat' \\; attach`,
  /50\s/,
  // One key ends it: one for each pane, typed fast, would reach a pane that is ending and be lost there.
  () => page.keyboard.press('Control+c'),
)

scene('htop', 'htop -d 900', /F10\s*Quit/, () => page.keyboard.press('F10'))

scene('less, in the middle of a file', 'seq -f "line %g" 1 1000 | less +500', /line 500/, () => page.keyboard.type('q'))

scene(
  'the alternate screen, margins, a hidden cursor and colours',
  quietly(`printf '\\033[?1049h\\033[2J\\033[3;6r\\033[?25l\\033[4;10H\\033[1;38;5;208;48;2;10;20;30mharbour\\033[4:3mwave\\033[0m\\033(0lqqk\\033(B\\033[?2004h\\033[9;3H%s' th''ere`),
  /there/,
  async () => {
    await enter()
    await me.run("printf '\\033[r\\033[?1049l\\033[?25h'; clear")
  },
)

scene('text that wraps, clusters and a wide character in the last column', quietly(`printf 'é👩‍👩‍👧🇩🇪%0500d%s' 7 漢字か''な`), /かな/, enter)

test('a half-drawn escape sequence goes on after the reload', async () => {
  await me.run(`clear; ${quietly("printf 'be%s \\033[3' fore; read -rs; printf '1mred\\033[0m after'")}`)
  await me.sees('main', /before/)
  await sameAfterReload()
  await page.locator('.xterm-helper-textarea').first().focus()
  await enter()
  await me.sees('main', /before red after/)
  assert.ok((await cells()).some((row) => /‹16777216,1,[^›]*›red/.test(row)), 'it is red')
  await enter()
  await me.sees('main', prompt)
})

test('a wide character that is cut in two is whole after the reload', async () => {
  await me.run(`clear; ${quietly("printf 'c%s \\346\\274' ut; read -rs; printf '\\242 whole'")}`)
  await me.sees('main', /cut/)
  await sameAfterReload()
  await page.locator('.xterm-helper-textarea').first().focus()
  await enter()
  await me.sees('main', /cut 漢 whole/)
  await enter()
  await me.sees('main', prompt)
})

test('what is drawn while the link is down is drawn at its size, whatever becomes of the window', async () => {
  const ask = await aside()
  await me.run(`clear; ${quietly(`printf 'wa%s' iting; until [ -e ~/go ]; do sleep 0.1; done; printf '\\033[3;9r\\033[9;1H%0300d\\n\\nscrolled\\033[24;5Hdra%s' 7 wn`)}`)
  await me.sees('main', /waiting/)
  await page.context().setOffline(true)
  w.network.cut()
  await me.linkIs('offline')
  await page.setViewportSize({ width: 800, height: 420 })
  const put = await ask('/workstation/files/content?path=go', { method: 'PUT', body: '' })
  assert.ok(put.ok, await put.text())
  for (const end = Date.now() + TIMEOUT; ; await page.waitForTimeout(100)) {
    const screen = await ask('/sessions/main/tabs/main/screen')
    if (/drawn/.test(await screen.text())) break
    assert.ok(Date.now() < end, 'the program never drew')
  }
  w.network.mend()
  await page.context().setOffline(false)
  await me.sees('main', /drawn/)
  await sameAfterReload()
  await page.setViewportSize({ width: 1280, height: 800 })
  await page.locator('.xterm-helper-textarea').first().focus()
  await enter()
  await me.run("printf '\\033[r'; clear")
  await me.sees('main', prompt)
})

test('ten thousand lines of scrollback come back', async () => {
  await me.run('clear; seq -f "row %g of many" 1 12000')
  await me.sees('main', /row 12000 of many/)
  await me.sees('main', prompt)
  const was = await me.text('main')
  await page.reload()
  await me.sees('main', prompt)
  assert.equal((await me.text('main')).slice(-150_000), was.slice(-150_000))
  assert.match(was, /row 2500 of many/)
})

test('what a program wants to say is said, as text, and nothing is typed', async () => {
  await me.run(`stty -echo; printf '\\033]777;notify;build;<b>done</b>\\007\\033]11;?\\007\\033[c'; read -rs -d c -t 30 answer; stty echo; printf 'answer %s' "$answer" | cat -v; echo`)
  await page.getByText('A program in main').waitFor()
  await page.getByText('build: <b>done</b>').waitFor()
  await me.sees('main', /^answer \^\[\]11;rgb:fbfb\/fafa\/f7f7\^\[\\\^\[\[\?1;2$/m) // this page's own background
})

test('the page broke no policy and threw nothing', () => assert.deepEqual(me.problems, []))
