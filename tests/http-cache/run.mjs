// Runs the public HTTP cache tests (npm: http-cache-tests) against the real edge.
//
//   node tests/http-cache/run.mjs SUITE EDGE
//
// SUITE is the folder of the installed package, EDGE the binary. Prints what passes by kind, and
// ends with 1 when a required test fails that `known.json` does not excuse, or passes though it does.

import { spawn } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const [suite, edge] = process.argv.slice(2).map(path => resolve(path))
const children = []
process.on('exit', () => children.forEach(child => child.kill()))

const known = JSON.parse(await readFile(join(here, 'known.json')))
const [web, admin, origin] = await freePorts(3)
start('node', ['server/server.mjs'], { npm_config_protocol: 'http', npm_config_port: origin, npm_config_pidfile: '/dev/null' })
start(edge, ['run', '--config', join(here, 'lakh.yaml')], { WEB: web, ADMIN: admin, ORIGIN: origin })
await untilItAnswers(`http://127.0.0.1:${web}/`)
const results = JSON.parse(await output('node', ['--no-warnings', 'cli.mjs'], {
  npm_config_base: `http://127.0.0.1:${web}`, npm_package_config_id: ''
}))
process.exit(report(await tests(), results))

async function freePorts (count) {
  const servers = await Promise.all(Array.from({ length: count }, () => new Promise(resolve => {
    const server = createServer().listen(0, '127.0.0.1', () => resolve(server))
  })))
  const ports = servers.map(server => server.address().port)
  await Promise.all(servers.map(server => new Promise(resolve => server.close(resolve))))
  return ports
}

function start (command, args, env) {
  const child = spawn(command, args, {
    cwd: suite, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'inherit']
  })
  children.push(child)
  return child
}

async function output (command, args, env) {
  const chunks = []
  for await (const chunk of start(command, args, env).stdout) chunks.push(chunk)
  return Buffer.concat(chunks).toString()
}

/** Asked again for ten seconds; a refused connection answers at once, so that needs a pause. */
async function untilItAnswers (url) {
  const deadline = Date.now() + 10_000
  for (;;) {
    const status = await fetch(url).then(response => response.status, () => 0)
    if (status === 200) return
    if (Date.now() > deadline) throw new Error(`${url} answers ${status}`)
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

async function tests () {
  const load = async name => (await import(pathToFileURL(join(suite, 'tests', name)))).default
  const suites = [...await load('index.mjs'), await load('surrogate-control.mjs')]
  return suites.flatMap(suite => suite.tests).filter(test => !test.browser_only)
}

function report (tests, results) {
  let wrong = 0
  for (const kind of ['required', 'optimal', 'check']) {
    const ofKind = tests.filter(test => (test.kind ?? 'required') === kind)
    const failed = ofKind.filter(test => results[test.id] !== true)
    console.log(`${kind}: ${ofKind.length - failed.length} of ${ofKind.length}`)
    if (kind === 'check') continue
    for (const { id } of failed) {
      const why = known[id] ?? results[id]?.[1]
      console.log(`  ${id}: ${why}`)
      if (kind === 'required' && !(id in known)) wrong++
    }
    for (const { id } of ofKind) {
      if (id in known && results[id] === true) {
        console.log(`  ${id} passes: take it out of known.json`)
        wrong++
      }
    }
  }
  return wrong === 0 ? 0 : 1
}
