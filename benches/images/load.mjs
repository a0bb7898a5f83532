// What hits of 1 KiB wait while every thread of the image pool is busy: see README.md.
//
//   node load.mjs SHARP PHOTOGRAPHS LAKH      as run.mjs

import { spawn } from 'node:child_process'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ask, LAST_CORE, pin, startLakh, startOrigin } from './servers.mjs'
import { sharpOf, sources } from './sources.mjs'

const [sharpFolder, photographs, binary] = process.argv.slice(2).map(path => resolve(path))
const [ROUNDS, SECONDS, CONNECTIONS, MISSES] = [5, 3, 32, 6]
const BAR = 1.5

pin()
const origin = await startOrigin(await sources(sharpOf(sharpFolder), photographs, join(sharpFolder, 'sources')))
const lakh = await startLakh(binary, origin, 'load.yaml')
let [made, width] = [0, 300]
process.exit(await main())

async function main () {
  await ask(lakh, '/1k')
  await ask(lakh, '/photo.jpg')
  const [alone, beside] = [[], []]
  for (let round = 0; round < ROUNDS; round++) {
    alone.push(await hits())
    const busy = keepBusy()
    beside.push(await hits())
    await busy.stop()
  }
  const told = runs => `p99 ${middle(runs, 'p99').toFixed(2)} ms, ${middle(runs, 'rate').toFixed(0)} a second`
  const ratio = middle(beside, 'p99') / middle(alone, 'p99')
  console.log(`hits of 1 KiB alone: ${told(alone)}`)
  console.log(`beside ${made} renditions: ${told(beside)}`)
  console.log(`p99 ${ratio.toFixed(2)} times that of alone, aimed at: ${BAR}`)
  return made > ROUNDS && ratio > 0 ? 0 : 1
}

function middle (runs, name) {
  return runs.map(run => run[name]).sort((a, b) => a - b)[ROUNDS >> 1]
}

/** Renditions that nobody has asked for before, more at a time than the pool has threads. */
function keepBusy () {
  let ends = false
  const one = async () => {
    for (; !ends; made++) await ask(lakh, `/photo.jpg?w=${width++}&f=jpeg`)
  }
  const all = Array.from({ length: MISSES }, one)
  return { stop: () => { ends = true; return Promise.all(all) } }
}

/** p99 in milliseconds and requests a second, as wrk counts them. */
async function hits () {
  const script = fileURLToPath(new URL('../load/wrk.lua', import.meta.url))
  const load = ['-t1', `-c${CONNECTIONS}`, `-d${SECONDS}s`, '--latency', '--script', script]
  const wrk = spawn('taskset', ['--cpu-list', LAST_CORE, 'wrk', ...load, `http://127.0.0.1:${lakh.port}/1k`].map(String))
  const chunks = []
  for await (const chunk of wrk.stdout) chunks.push(chunk)
  const { requests, microseconds, p99, errors } = JSON.parse(Buffer.concat(chunks).toString().trim().split('\n').pop())
  if (Object.values(errors).some(count => count > 0)) throw new Error(`errors: ${JSON.stringify(errors)}`)
  return { p99: p99 / 1000, rate: requests / microseconds * 1e6 }
}
