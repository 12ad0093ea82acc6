// How many MB @xterm/headless draws per second of processor time: node xterm-bench.mjs FILE
import { readFileSync } from 'node:fs'
import headless from '@xterm/headless'
import { UnicodeGraphemesAddon } from './graphemes.mjs'

const text = readFileSync(process.argv[2])
const term = new headless.Terminal({ allowProposedApi: true, cols: 80, rows: 24, scrollback: 10_000 })
term.loadAddon(new UnicodeGraphemesAddon())
const CHUNK = 32 * 1024
async function draw() {
  for (let i = 0; i < text.length; i += CHUNK) await new Promise((done) => term.write(text.subarray(i, i + CHUNK), done))
}
await draw() // warm
const before = process.cpuUsage()
for (let i = 0; i < 4; i++) await draw()
const { user, system } = process.cpuUsage(before)
console.log(JSON.stringify({ MB: (4 * text.length) / 1e6, Seconds: (user + system) / 1e6 }))
