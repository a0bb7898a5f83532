// CPU per image beside sharp's, on the same core, cold, over HTTP: see README.md.
//
//   node run.mjs SHARP PHOTOGRAPHS LAKH      the folders of both packages, and the binary

import { join, resolve } from 'node:path'
import { ask, cpu, pin, startLakh, startOrigin, startPeer } from './servers.mjs'
import { brightness, reduced, similarity } from './similarity.mjs'
import { sharpOf, sources } from './sources.mjs'

const [sharpFolder, photographs, binary] = process.argv.slice(2).map(path => resolve(path))
const [ROUNDS, TIMES] = [5, 8]

/** What must hold of a comparison, and what is aimed at. */
const [MOST_BYTES_OFF, MOST_SIMILARITY_LOST] = [0.03, 0.002]
const BARS = { each: 0.65, together: 0.45 }

const ASKED = [
  { width: 1920, format: 'jpeg', quality: 85 },
  { width: 800, format: 'jpeg', quality: 80 },
  { width: 200, format: 'jpeg', quality: 75 },
  { width: 800, format: 'webp', quality: 80 },
  { width: 800, format: 'avif', quality: 50 }
]
const CASES = [
  ...['photo', 'busy'].flatMap(source => ASKED.map(asked => ({ source, ...asked }))),
  { source: 'small', width: 800, format: 'jpeg', quality: 80 }
]

pin()
const sharp = sharpOf(sharpFolder)
const folder = join(resolve(sharpFolder), 'sources')
const all = await sources(sharp, photographs, folder)
const origin = await startOrigin(all)
const lakh = await startLakh(binary, origin)
const peer = await startPeer(sharpFolder, folder)
const originals = {}
let asked = 0
process.exit(await main())

async function main () {
  console.log(`sharp ${sharp.versions.sharp} (libvips ${sharp.versions.vips}); CPU ms, kB and SSIM of one image\n`)
  console.log('| image | sharp | Lakh | CPU ratio |\n|---|---|---|---|')
  const lines = []
  for (const asked of CASES) lines.push(await compare(asked))
  const each = Math.exp(lines.reduce((sum, { ratio }) => sum + Math.log(ratio), 0) / lines.length)
  const together = []
  for (const source of ['photo', 'busy']) together.push(await compareTogether(source))
  console.log(`\ngeometric mean ${each.toFixed(2)}, aimed at: ${BARS.each}`)
  console.log(`three together ${together.map(ratio => ratio.toFixed(2)).join(' and ')}, aimed at: ${BARS.together}`)
  return lines.every(line => line.isFair) ? 0 : 1
}

/** One rendition, at a quality of ours that gives as many bytes as theirs. */
async function compare (asked) {
  const theirs = await judge(peer, asked)
  const ours = await ofAsManyBytes(asked, theirs.bytes.length)
  const times = await inTurns([() => timed(peer, [asked]), () => timed(lakh, [ours.asked])])
  const ratio = times[1] / times[0]
  const off = ours.bytes.length / theirs.bytes.length - 1
  const isFair = Math.abs(off) <= MOST_BYTES_OFF && ours.similarity >= theirs.similarity - MOST_SIMILARITY_LOST
  const told = ({ bytes, similarity, asked }, time) =>
    `${time.toFixed(1)} · ${(bytes.length / 1000).toFixed(1)} · ${similarity.toFixed(4)} (q ${asked.quality})`
  console.log(`| ${title(asked)} | ${told(theirs, times[0])} | ${told(ours, times[1])} | ` +
    `${ratio.toFixed(2)}${isFair ? '' : ' **not alike**'} |`)
  return { ratio, isFair }
}

/** What one page asks for at once. */
async function compareTogether (source) {
  const page = ASKED.slice(0, 3).map(asked => ({ source, ...asked }))
  const times = await inTurns([() => timed(peer, page), () => timed(lakh, page)])
  const ratio = times[1] / times[0]
  console.log(`| ${source} → three JPEGs together | ${times[0].toFixed(1)} | ${times[1].toFixed(1)} | ${ratio.toFixed(2)} |`)
  return ratio
}

function title ({ source, width, format }) {
  return `${source} → ${width} ${{ jpeg: 'JPEG', webp: 'WebP', avif: 'AVIF' }[format]}`
}

/** Medians of what each takes, turn by turn, so that a drift of the machine meets both. */
async function inTurns (works) {
  const times = works.map(() => [])
  for (const work of works) await work()
  for (let round = 0; round < ROUNDS; round++) {
    for (const [at, work] of works.entries()) times[at].push(await work())
  }
  return times.map(times => times.sort((a, b) => a - b)[ROUNDS >> 1])
}

/** Milliseconds of CPU for all of these at once, each of a source that was never asked for. */
async function timed (server, page) {
  const before = cpu(server)
  for (let time = 0; time < TIMES; time++) {
    const folder = ++asked
    await Promise.all(page.map(asked => ask(server, path(server, asked, folder))))
  }
  return (cpu(server) - before) / TIMES
}

function path (server, { source, width, format, quality }, folder) {
  const place = server === peer ? '' : `/${folder}`
  return `${place}/${source}.jpg?w=${width}&f=${format}&q=${quality}`
}

/** By halves: bytes grow with quality. */
async function ofAsManyBytes (asked, bytes) {
  let best
  for (let [low, high] = [1, 100]; low <= high;) {
    const quality = (low + high) >> 1
    const made = await ask(lakh, path(lakh, { ...asked, quality }, 0))
    const off = Math.abs(made.length - bytes)
    if (!best || off < best.off) best = { off, quality }
    if (made.length < bytes) low = quality + 1
    else high = quality - 1
  }
  return await judge(lakh, { ...asked, quality: best.quality })
}

async function judge (server, asked) {
  const bytes = await ask(server, path(server, asked, 0))
  const original = originals[asked.source] ??= await brightness(sharp, all[asked.source].file)
  const seen = await brightness(sharp, bytes)
  return { asked, bytes, similarity: similarity(seen, reduced(original, seen)) }
}
