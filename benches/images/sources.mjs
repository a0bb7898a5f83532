// What is resized: mosaics of photographs, drawn here, so that everybody measures the same.

import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

/** Of scikit-image's own examples, all free to use. */
const PHOTOGRAPHS = ['astronaut.png', 'chelsea.png', 'coffee.png', 'rocket.jpg', 'motorcycle_left.png', 'ihc.png']

/** Two cameras' files of twelve megapixels, one with few and one with many bytes, and one of two. */
const SOURCES = {
  photo: { width: 4000, height: 3000, bytes: 1_800_000 },
  busy: { width: 4000, height: 3000, bytes: 4_400_000 },
  small: { width: 1920, height: 1080, bytes: 800_000 }
}

export const sharpOf = folder => createRequire(join(folder, 'package.json'))('sharp')

/** Writes what isn't there yet: {name: {file, width, height}}. */
export async function sources (sharp, photographs, folder) {
  mkdirSync(folder, { recursive: true })
  for (const [name, source] of Object.entries(SOURCES)) {
    source.file = join(folder, `${name}.jpg`)
    if (!existsSync(source.file)) writeFileSync(source.file, await draw(sharp, photographs, source))
    source.jpeg = readFileSync(source.file)
  }
  return SOURCES
}

/** 4:2:0 baseline, at the quality that comes nearest to the bytes. */
async function draw (sharp, photographs, { width, height, bytes }) {
  const raw = { width, height, channels: 3 }
  const canvas = await mosaic(sharp, photographs, raw)
  let best
  for (let [low, high] = [1, 100]; low <= high;) {
    const quality = (low + high) >> 1
    const jpeg = await sharp(canvas, { raw }).jpeg({ quality, optimiseCoding: false }).toBuffer()
    const off = Math.abs(jpeg.length - bytes)
    if (!best || off < Math.abs(best.length - bytes)) best = jpeg
    if (jpeg.length < bytes) low = quality + 1
    else high = quality - 1
  }
  return best
}

/** Side by side, in rows of one height; every second round of them mirrored, for variety. */
async function mosaic (sharp, photographs, { width, height, channels }) {
  const tiles = []
  for (let [x, y, used] = [0, 0, 0]; y < height; used++) {
    const file = join(photographs, PHOTOGRAPHS[used % PHOTOGRAPHS.length])
    const tile = sharp(file).removeAlpha().toColourspace('srgb').resize({ height: 400, kernel: 'cubic' })
    if ((used / PHOTOGRAPHS.length) & 1) tile.flop()
    const { data, info } = await tile.raw().toBuffer({ resolveWithObject: true })
    const shown = { left: 0, top: 0, width: Math.min(info.width, width - x), height: Math.min(info.height, height - y) }
    const input = await sharp(data, { raw: info }).extract(shown).png({ compressionLevel: 0 }).toBuffer()
    tiles.push({ input, left: x, top: y })
    x += shown.width
    if (x >= width) [x, y] = [0, y + 400]
  }
  const canvas = sharp({ create: { width, height, channels, background: 'black' } })
  return await canvas.composite(tiles).removeAlpha().raw().toBuffer()
}
