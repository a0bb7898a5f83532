// Lakh, the peer and the origin: started, asked, their time read from /proc, ended by their ids.

import { execFileSync, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { Agent, createServer, get } from 'node:http'
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'

const here = name => fileURLToPath(new URL(name, import.meta.url))
const agent = new Agent({ keepAlive: true })
const children = new Set()
process.on('exit', () => children.forEach(child => child.kill()))
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1))

/** The core of what is measured; whoever asks runs on the last one. */
export const CORE = 0
export const LAST_CORE = availableParallelism() - 1

/** Takes this process there. */
export function pin () {
  execFileSync('taskset', ['--all-tasks', '--pid', '--cpu-list', String(LAST_CORE), String(process.pid)])
}

/** Gives each source under any folder, so that none is known before it is asked for. */
export async function startOrigin (sources) {
  const server = createServer((request, response) => {
    const source = sources[request.url.match(/([a-z]+)\.jpg/)?.[1]]
    if (!source) {
      response.setHeader('cache-control', 'max-age=600')
      return response.end('x'.repeat(1024))
    }
    response.writeHead(200, { 'content-type': 'image/jpeg', 'cache-control': 'max-age=600' })
    response.end(source.jpeg)
  })
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve))
  return server
}

export async function startLakh (binary, origin, config = 'lakh.yaml') {
  const [web, admin] = await freePorts(2)
  const env = { WEB: web, ADMIN: admin, ORIGIN: origin.address().port }
  return await started('Lakh', [binary, 'run', '--config', here(config)], web, env, { admin })
}

export async function startPeer (sharp, folder) {
  const [port] = await freePorts(1)
  return await started('sharp', [process.execPath, here('peer.mjs'), sharp, folder, port], port)
}

async function started (name, command, port, env = {}, more = {}) {
  const child = spawn('taskset', ['--cpu-list', CORE, ...command].map(String), {
    env: { ...process.env, RUST_LOG: 'warn', ...env }, stdio: ['ignore', 'ignore', 'inherit']
  })
  children.add(child)
  const server = { name, pid: child.pid, port, ...more, stop: () => ended(child) }
  for (const until = Date.now() + 10_000; ;) {
    if (await ask(server, '/').then(() => true, () => false)) return server
    if (Date.now() > until || child.exitCode !== null) throw new Error(`${name} does not answer`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function ended (child) {
  const exit = new Promise(resolve => child.once('exit', resolve))
  child.kill()
  await exit
  children.delete(child)
}

/** The body; a redirect, an error or a broken answer throws. */
export function ask ({ port, name }, path) {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, agent }, response => {
      const chunks = []
      response.on('data', chunk => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => response.statusCode === 200
        ? resolve(Buffer.concat(chunks))
        : reject(new Error(`${name} answers ${response.statusCode} to ${path}: ${Buffer.concat(chunks)}`)))
    }).on('error', reject)
  })
}

/** Milliseconds of CPU so far, user and system, of all its threads (proc(5), stat: hundredths). */
export function cpu ({ pid }) {
  // Fields are counted from behind the command, which may hold spaces and parentheses.
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').pop().split(' ')
  return 10 * (Number(fields[11]) + Number(fields[12]))
}

export async function freePorts (count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
  })))
  const ports = servers.map(server => server.address().port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}
