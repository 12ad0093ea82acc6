// A real server, a cuttable network and a real browser for the end-to-end story.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createConnection, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const BINARY = process.env.STAITHE_BIN ?? fileURLToPath(new URL('../../bin/staithe', import.meta.url))
const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium'
export const TIMEOUT = 30_000

/** A TCP relay in front of the server: what a network does, it can do on demand. */
export class Network {
  #pairs = new Set()
  #server
  #up = true
  target = 0
  /** Close codes that clients said on WebSockets that have ended since. */
  said = []

  async listen() {
    this.#server = createServer((near) => this.#relay(near))
    this.#server.listen(0, '127.0.0.1')
    await once(this.#server, 'listening')
    return this.#server.address().port
  }

  /** Ends all connections and lets no new one through. */
  cut() {
    this.#up = false
    for (const socket of this.#pairs) socket.destroy()
  }

  mend() {
    this.#up = true
  }

  close() {
    this.cut()
    this.#server.close()
  }

  #relay(near) {
    if (!this.#up) return near.destroy()
    const far = createConnection(this.target, '127.0.0.1')
    let tail = Buffer.alloc(0)
    near.on('data', (chunk) => (tail = Buffer.concat([tail, chunk]).subarray(-8)))
    near.on('close', () => {
      // A masked close frame of two bytes and nothing after it.
      if (tail[0] === 0x88 && tail[1] === 0x82) this.said.push(((tail[6] ^ tail[2]) << 8) | (tail[7] ^ tail[3]))
    })
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ]) {
      this.#pairs.add(socket)
      socket.setNoDelay(true)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        this.#pairs.delete(socket)
        other.destroy()
      })
      socket.pipe(other)
    }
  }
}

/**
 * A port that the server may come back to. The kernel gives none like it to who
 * only connects or does not care, so it stays free while the server is down.
 */
async function freePort() {
  for (let tries = 0; tries < 100; tries++) {
    const port = 12_000 + Math.floor(Math.random() * 20_000)
    const server = createServer().listen(port, '127.0.0.1')
    try {
      await once(server, 'listening')
    } catch {
      continue // somebody listens there
    }
    server.close()
    await once(server, 'close')
    return port
  }
  throw new Error('no port is free')
}

/** The gateway as a process of its own, to be killed and started again on the same port and data. */
export class Server {
  setup = ''
  stderr = ''
  #process = null

  constructor(port, data, url) {
    Object.assign(this, { port, data, url })
  }

  async start() {
    const args = ['serve', '--listen', `127.0.0.1:${this.port}`, '--data', this.data, '--url', this.url]
    const child = spawn(BINARY, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#process = child
    child.stderr.on('data', (chunk) => (this.stderr += chunk))
    let out = ''
    await new Promise((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', (code) => reject(new Error(`staithe ended with ${code}: ${this.stderr}`)))
      child.stdout.on('data', (chunk) => {
        out += chunk
        if (out.includes('ready: ')) resolve()
      })
    })
    child.removeAllListeners('exit')
    this.setup = /^setup: (\S+)$/m.exec(out)?.[1] ?? this.setup
  }

  async kill(signal) {
    const child = this.#process
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    child.kill(signal)
    await once(child, 'exit')
  }
}

/** Everything the story needs; close() leaves nothing running. */
export async function world() {
  const data = await mkdtemp(join(tmpdir(), 'staithe-e2e-'))
  await chmod(data, 0o711) // sessions without isolation walk to their home as its owner
  const network = new Network()
  const url = `http://127.0.0.1:${await network.listen()}`
  const server = new Server(await freePort(), data, url)
  network.target = server.port
  await server.start()
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
  return {
    server,
    network,
    browser,
    url,
    /** Sandboxes outlive their gateway on purpose, so they are deleted through it. */
    async close(user) {
      await browser.close()
      network.mend()
      await server.kill('SIGKILL')
      await server.start()
      await deleteSessions(url, user)
      await server.kill('SIGTERM')
      network.close()
      await rm(data, { recursive: true, force: true })
    },
  }
}

async function deleteSessions(url, { username, password }) {
  const call = (method, path, body, cookie) =>
    fetch(`${url}/api/v1${path}`, {
      method,
      headers: { Origin: url, ...(body ? { 'Content-Type': 'application/json' } : {}), ...(cookie ? { cookie } : {}) },
      ...(body ? { body: JSON.stringify(body) } : {}),
    })
  const login = await call('POST', '/login', { username, password })
  if (!login.ok) return // the story ended before there was an account
  const cookie = login.headers.getSetCookie().map((line) => line.split(';')[0]).join('; ')
  for (const { id } of await (await call('GET', '/sessions', undefined, cookie)).json()) {
    await call('DELETE', `/sessions/${id}`, undefined, cookie)
  }
}

/** A page and what a person does with a terminal in it. */
export class Visitor {
  constructor(page) {
    this.page = page
    this.problems = []
    page.setDefaultTimeout(TIMEOUT)
    page.on('pageerror', (error) => this.problems.push(error.message))
    page.on('console', (message) => {
      // A refused policy shows up here and nowhere else.
      if (/Content Security Policy/.test(message.text())) this.problems.push(message.text())
    })
  }

  static async arrive(browser, options = {}) {
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, ...options })
    await context.addInitScript(() => localStorage.setItem('staitheDebug', '1'))
    return new Visitor(await context.newPage())
  }

  /** Makes the first account of a new server, and is in its first shell. */
  async begin(server, { username, password }) {
    const { page } = this
    await page.goto(server.setup)
    await page.getByLabel('User name').fill(username)
    await page.getByLabel('Password', { exact: true }).fill(password)
    await page.getByRole('button', { name: /create account/i }).click()
    await this.sees('main', /\$ ?$/)
  }

  text(tab) {
    return this.page.evaluate((name) => window.staithe?.text(name) ?? '', tab)
  }

  /** Waits until a tab's text matches. */
  async sees(tab, pattern) {
    try {
      await this.page.waitForFunction(
        ([name, source, flags]) => new RegExp(source, flags).test(window.staithe?.text(name) ?? ''),
        [tab, pattern.source, pattern.flags],
        { polling: 50 },
      )
    } catch (cause) {
      throw new Error(`${pattern} did not appear in ${tab}:\n${(await this.text(tab)).slice(-1500)}`, { cause })
    }
  }

  async run(line) {
    await this.page.keyboard.type(line)
    await this.page.keyboard.press('Enter')
  }

  async linkIs(kind) {
    await this.page.locator(`[data-link="${kind}"]`).waitFor()
  }

  /** The recorded output of a tab, as text with one character per byte. */
  async stream(tab) {
    return Buffer.from((await this.page.evaluate((name) => window.staithe.bytes(name), tab)) ?? '', 'base64').toString('latin1')
  }
}
