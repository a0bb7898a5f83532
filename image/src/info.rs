//! What a source is, as JSON.

use super::blurhash::blurhash;
use super::codec::{Header, Wanted};
use super::geometry::Region;
use super::ops::{flatten, with_colour};
use super::plan::Colour;
use super::raster::{Picture, Raster};
use super::resize::resize;
use super::size::Size;
use super::transform::Rendition;

/// Pixels each way from which colours are told.
const SMALL: u32 = 32;

/// Levels of a channel that count as one colour: 255 is divided into this many.
const SHADES: usize = 8;

const WHITE: Colour = Colour {
    red: 255,
    green: 255,
    blue: 255,
    alpha: 255,
};

/// Pixels at a reduction that is still far larger than what is looked at.
pub fn wanted(header: &Header) -> Wanted {
    Wanted {
        size: header
            .size
            .contained(Size::new(SMALL, SMALL))
            .within(header.size),
        packed: true,
    }
}

/// The upright size in pixels, the format, the number of frames, whether the background is seen
/// through, the size in bytes, the EXIF orientation, the colour there is most of, and a BlurHash.
pub fn describe(source: &[u8], header: &Header, picture: &Picture) -> Rendition {
    let pose = header.pose();
    let size = pose.size(header.size);
    let alpha = matches!(picture, Picture::Packed(raster) if raster.is_translucent());
    let small = pose.raster(&small(picture, header));
    let [red, green, blue] = dominant(&small);
    let json = format!(
        "{{\"width\":{},\"height\":{},\"format\":\"{}\",\"frames\":{},\"alpha\":{alpha},\
         \"bytes\":{},\"orientation\":{},\"dominant\":\"#{red:02x}{green:02x}{blue:02x}\",\
         \"blurhash\":\"{}\"}}",
        size.width,
        size.height,
        header.kind.name(),
        header.frames,
        source.len(),
        header.orientation.to_exif(),
        blurhash(&small).replace('\\', "\\\\"),
    );
    Rendition::new(json.into_bytes(), "application/json", size)
}

/// A few RGB pixels, in sRGB, on white.
fn small(picture: &Picture, header: &Header) -> Raster {
    let Picture::Packed(raster) = resize(picture, Region::WHOLE, wanted(header).size) else {
        unreachable!("`wanted` asks for pixels");
    };
    let raster = match &header.profile {
        Some(profile) => profile.to_srgb(raster),
        None => raster,
    };
    with_colour(flatten(raster, WHITE))
}

/// The mean of the most frequent colours: those that fall into one of 8 × 8 × 8 boxes.
fn dominant(raster: &Raster) -> [u8; 3] {
    let mut boxes = vec![[0u32; 4]; SHADES * SHADES * SHADES];
    let (pixels, _) = raster.samples.as_chunks::<3>();
    for pixel in pixels {
        let shade = |level: u8| usize::from(level) * SHADES / 256;
        let [r, g, b] = pixel.map(shade);
        let found = &mut boxes[(r * SHADES + g) * SHADES + b];
        for (sum, level) in found.iter_mut().zip(pixel) {
            *sum += u32::from(*level);
        }
        found[3] += 1;
    }
    let most = boxes.iter().max_by_key(|sums| sums[3]);
    let [r, g, b, count] = most.copied().unwrap_or_default();
    [r, g, b].map(|sum| (sum / count.max(1)) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Layout;

    #[test]
    fn the_colour_there_is_most_of() {
        let pixels = [[250, 10, 10], [20, 30, 200], [24, 26, 204]].concat();
        let raster = Raster::whole(Size::new(3, 1), Layout::Rgb, pixels);
        assert_eq!(dominant(&raster), [22, 28, 202]);
    }
}
