//! PNG out: lossless, in the form that has the fewest bytes.

use crate::raster::{Layout, Raster};
use crate::transform::TransformError;
use png::{BitDepth, ColorType, Compression, EncodingError, Filter, Info};
use std::borrow::Cow;
use std::collections::HashSet;

/// Entries of a palette.
const MOST_COLOURS: usize = 256;

pub fn encode(raster: Raster, exif: Option<Vec<u8>>) -> Result<Vec<u8>, TransformError> {
    let raster = leanest(raster);
    let exif = exif.map(Cow::Owned);
    let written = write(&raster, Form::direct(&raster), exif.clone())?;
    let Some(form) = Form::indexed(&raster) else {
        return Ok(written);
    };
    let indexed = write(&raster, form, exif)?;
    Ok(if indexed.len() < written.len() {
        indexed
    } else {
        written
    })
}

/// Without an alpha that hides nothing, and without colours that are all grey.
fn leanest(raster: Raster) -> Raster {
    let raster = if raster.layout == Layout::Rgba && !raster.is_translucent() {
        let (pixels, _) = raster.samples.as_chunks::<4>();
        let samples = pixels.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect();
        Raster::whole(raster.size, Layout::Rgb, samples)
    } else {
        raster
    };
    let (pixels, _) = raster.samples.as_chunks::<3>();
    if raster.layout == Layout::Rgb && pixels.iter().all(|[r, g, b]| r == g && g == b) {
        let samples = pixels.iter().map(|&[grey, ..]| grey).collect();
        return Raster::whole(raster.size, Layout::Grey, samples);
    }
    raster
}

/// How samples are written.
struct Form<'r> {
    colour: ColorType,
    depth: BitDepth,
    filter: Filter,
    /// RGB, and the alpha of the first entries; of pixels that are indexes.
    palette: Option<(Vec<u8>, Vec<u8>)>,
    samples: Cow<'r, [u8]>,
}

impl<'r> Form<'r> {
    fn direct(raster: &'r Raster) -> Self {
        Self {
            colour: match raster.layout {
                Layout::Grey => ColorType::Grayscale,
                Layout::Rgb => ColorType::Rgb,
                Layout::Rgba => ColorType::Rgba,
            },
            depth: BitDepth::Eight,
            filter: Filter::Adaptive,
            palette: None,
            samples: Cow::Borrowed(&raster.samples),
        }
    }

    /// None where there are too many colours.
    fn indexed(raster: &Raster) -> Option<Self> {
        let colours = colours(raster)?;
        let (depth, bits) = match colours.len() {
            ..=2 => (BitDepth::One, 1),
            3..=4 => (BitDepth::Two, 2),
            5..=16 => (BitDepth::Four, 4),
            _ => (BitDepth::Eight, 8),
        };
        let index = |pixel: &[u8]| {
            let found = colours.binary_search_by_key(&order(colour(pixel)), |c| order(*c));
            found.expect("every pixel's colour is listed") as u8
        };
        let channels = raster.layout.channels();
        let line = |row: &[u8]| {
            let indexes: Vec<u8> = row.chunks_exact(channels).map(index).collect();
            packed(&indexes, bits)
        };
        let translucent = colours.iter().take_while(|colour| colour[3] != 255);
        Some(Self {
            colour: ColorType::Indexed,
            depth,
            filter: Filter::NoFilter,
            palette: Some((
                colours.iter().flat_map(|&[r, g, b, _]| [r, g, b]).collect(),
                translucent.map(|colour| colour[3]).collect(),
            )),
            samples: raster.rows().flat_map(line).collect(),
        })
    }
}

/// All that there are, translucent ones first, in an order that only depends on them.
fn colours(raster: &Raster) -> Option<Vec<[u8; 4]>> {
    let mut found = HashSet::new();
    for pixel in raster.samples.chunks_exact(raster.layout.channels()) {
        found.insert(colour(pixel));
        if found.len() > MOST_COLOURS {
            return None;
        }
    }
    let mut colours: Vec<_> = found.into_iter().collect();
    colours.sort_by_key(|colour| order(*colour));
    Some(colours)
}

fn order(colour: [u8; 4]) -> (bool, [u8; 4]) {
    (colour[3] == 255, colour)
}

fn colour(pixel: &[u8]) -> [u8; 4] {
    match *pixel {
        [r, g, b, a] => [r, g, b, a],
        [r, g, b] => [r, g, b, 255],
        _ => [pixel[0], pixel[0], pixel[0], 255],
    }
}

/// The first in the highest bits; lines begin on a byte (PNG §7.2).
fn packed(indexes: &[u8], bits: usize) -> Vec<u8> {
    let in_a_byte = |indexes: &[u8]| {
        let shifted = (0..)
            .zip(indexes)
            .map(|(at, index)| index << (8 - bits * (at + 1)));
        shifted.fold(0, |byte, index| byte | index)
    };
    indexes.chunks(8 / bits).map(in_a_byte).collect()
}

/// Written once and sent many times, so bytes count for more than time here: the fast compression is
/// three times as quick on photographs, and far larger on what is drawn.
fn write(
    raster: &Raster,
    form: Form<'_>,
    exif: Option<Cow<'static, [u8]>>,
) -> Result<Vec<u8>, TransformError> {
    let mut info = Info::with_size(raster.size.width, raster.size.height);
    (info.color_type, info.bit_depth) = (form.colour, form.depth);
    info.exif_metadata = exif;
    if let Some((palette, alpha)) = form.palette {
        info.palette = Some(palette.into());
        info.trns = Some(alpha)
            .filter(|alpha| !alpha.is_empty())
            .map(Cow::Owned);
    }
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::with_info(&mut bytes, info).map_err(failed)?;
    encoder.set_compression(Compression::Balanced);
    encoder.set_filter(form.filter);
    let mut writer = encoder.write_header().map_err(failed)?;
    writer.write_image_data(&form.samples).map_err(failed)?;
    writer.finish().map_err(failed)?;
    Ok(bytes)
}

fn failed(error: EncodingError) -> TransformError {
    TransformError::Encode(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::size::Size;
    use proptest::prelude::*;

    fn read(bytes: &[u8]) -> Vec<u8> {
        let read = image::load_from_memory_with_format(bytes, image::ImageFormat::Png);
        read.expect("a PNG").into_rgba8().into_raw()
    }

    proptest! {
        /// With few colours and with many, in every layout, whichever form was chosen.
        #[test]
        fn every_pixel_is_read_as_it_was(
            layout in prop::sample::select(&[Layout::Grey, Layout::Rgb, Layout::Rgba][..]),
            width in 1u32..40,
            height in 1u32..40,
            mask: u8,
            seed: u64,
        ) {
            let size = Size::new(width, height);
            let mut state = seed | 1;
            let samples: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56) as u8 & mask
            })
            .take(layout.bytes(size))
            .collect();
            let raster = Raster::whole(size, layout, samples);
            let pixels = raster.samples.chunks_exact(layout.channels());
            let expected: Vec<u8> = pixels.flat_map(colour).collect();
            for form in [Some(Form::direct(&raster)), Form::indexed(&raster)].into_iter().flatten() {
                let bytes = write(&raster, form, None).expect("a PNG");
                prop_assert_eq!(&read(&bytes), &expected);
            }
            prop_assert_eq!(read(&encode(raster, None).expect("a PNG")), expected);
        }
    }

    #[test]
    fn few_colours_take_a_palette_and_many_do_not() {
        let size = Size::new(200, 100);
        let drawn = |colours: usize| {
            let pixel = |at: usize| [(at / 7 % colours) as u8, 40, (at / 700 % colours) as u8];
            let samples = (0..20_000).flat_map(pixel).collect();
            encode(Raster::whole(size, Layout::Rgb, samples), None).expect("a PNG")
        };
        let is_indexed = |png: Vec<u8>| png[25] == 3;
        assert!(is_indexed(drawn(4)));
        assert!(!is_indexed(drawn(100)));
    }
}
