// How near a rendition is to the best reduction of its source: structural similarity (Wang, Bovik,
// Sheikh, Simoncelli 2004) of the brightness, with windows of 8 × 8 pixels at every fourth.

const [WINDOW, STEP] = [8, 4]

/** {width, height, levels} of a file, in full. */
export async function brightness (sharp, file) {
  const { data, info: { width, height, channels } } = await sharp(file).removeAlpha().raw().toBuffer({ resolveWithObject: true })
  const levels = new Float32Array(width * height)
  for (let at = 0; at < levels.length; at++) {
    const pixel = at * channels
    levels[at] = channels < 3 ? data[pixel] : 0.299 * data[pixel] + 0.587 * data[pixel + 1] + 0.114 * data[pixel + 2]
  }
  return { width, height, levels }
}

/** Lanczos with three lobes, of every sample, with nothing reduced before. */
export function reduced ({ width, height, levels }, to) {
  const across = scaled(levels, height, width, to.width, 1, width)
  const down = scaled(across, to.width, height, to.height, to.width, 1)
  return { ...to, levels: down.map(level => Math.min(255, Math.max(0, Math.round(level)))) }
}

/** Each of `lines` from `from` to `to` samples, which lie `step` apart, lines `stride`. */
function scaled (levels, lines, from, to, step, stride) {
  const out = new Float32Array(lines * to)
  const ratio = from / to
  const outStride = step === 1 ? to : 1
  for (let at = 0; at < to; at++) {
    const { first, weights } = weightsAt((at + 0.5) * ratio, ratio, from)
    for (let line = 0; line < lines; line++) {
      let sum = 0
      for (let k = 0; k < weights.length; k++) sum += weights[k] * levels[line * stride + (first + k) * step]
      out[line * outStride + at * step] = sum
    }
  }
  return out
}

function weightsAt (centre, ratio, from) {
  const first = Math.max(0, Math.floor(centre - 3 * ratio))
  const behind = Math.min(from, Math.ceil(centre + 3 * ratio))
  const weights = Array.from({ length: behind - first }, (_, k) => lanczos((first + k + 0.5 - centre) / ratio))
  const sum = weights.reduce((sum, weight) => sum + weight)
  return { first, weights: weights.map(weight => weight / sum) }
}

function lanczos (x) {
  if (x === 0) return 1
  if (Math.abs(x) >= 3) return 0
  const angle = Math.PI * x
  return 3 * Math.sin(angle) * Math.sin(angle / 3) / (angle * angle)
}

/** From -1 to 1, which only equal pictures have. */
export function similarity (one, other) {
  let [sum, windows] = [0, 0]
  for (let top = 0; top + WINDOW <= one.height; top += STEP) {
    for (let left = 0; left + WINDOW <= one.width; left += STEP, windows++) sum += atWindow(one, other, top, left)
  }
  return sum / windows
}

function atWindow (one, other, top, left) {
  let [a, b, aa, bb, ab] = [0, 0, 0, 0, 0]
  for (let y = top; y < top + WINDOW; y++) {
    for (let at = y * one.width + left; at < y * one.width + left + WINDOW; at++) {
      const [x, y] = [one.levels[at], other.levels[at]]
      a += x; b += y; aa += x * x; bb += y * y; ab += x * y
    }
  }
  const count = WINDOW * WINDOW
  const [meanA, meanB] = [a / count, b / count]
  const variances = aa / count - meanA * meanA + bb / count - meanB * meanB
  const covariance = ab / count - meanA * meanB
  const means = (2 * meanA * meanB + 6.5025) / (meanA * meanA + meanB * meanB + 6.5025)
  return means * (2 * covariance + 58.5225) / (variances + 58.5225)
}
