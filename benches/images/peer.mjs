// The peer: sharp behind the least server that will do. It reads its sources from disk.
//
//   node peer.mjs SHARP FOLDER PORT      then GET /FILE?w=800&f=jpeg&q=80

import { createServer } from 'node:http'
import { join } from 'node:path'
import { sharpOf } from './sources.mjs'

const [folder, sources, port] = process.argv.slice(2)
const sharp = sharpOf(folder)
sharp.concurrency(1)
sharp.cache(false)

/** Beside its defaults: AVIF as Lakh writes it, 4:2:0, at a quick effort. */
const OPTIONS = { jpeg: {}, webp: {}, avif: { effort: 2, chromaSubsampling: '4:2:0' } }

createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, 'http://peer')
  const [width, format, quality] = ['w', 'f', 'q'].map(name => searchParams.get(name))
  if (!(format in OPTIONS)) return response.end()
  const picture = sharp(join(sources, pathname)).resize(Number(width))
  const made = await picture.toFormat(format, { ...OPTIONS[format], quality: Number(quality) }).toBuffer()
  response.setHeader('content-type', `image/${format}`)
  response.end(made)
}).listen(port, '127.0.0.1')
