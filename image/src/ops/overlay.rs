//! Pictures of the edge's own, laid on renditions: watermarks.

use super::ground::{over, with_colour};
use crate::codec::{Source, Wanted};
use crate::geometry::Region;
use crate::limits::Limits;
use crate::raster::{Picture, Raster};
use crate::resize::resize_raster;
use crate::size::Size;
use crate::transform::TransformError;
use std::collections::BTreeMap;
use std::sync::Arc;

/// By the name that plans call them.
pub type Overlays = BTreeMap<String, Arc<Overlay>>;

pub struct Overlay {
    picture: Raster,
    place: Place,
}

/// How an overlay lies on a rendition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// How the space beside it is divided, in thousandths from the left and from the top.
    pub at: (u16, u16),
    /// Hundredths of the rendition's sides that it may take at most; it is never enlarged.
    pub share: u8,
    /// 255 leaves the overlay as solid as it is.
    pub opacity: u8,
}

impl Overlay {
    /// Decodes the file once, for all renditions to come.
    pub fn read(file: &[u8], place: Place, limits: &Limits) -> Result<Self, TransformError> {
        limits.check_bytes(file)?;
        let source = Source::open(file, limits)?;
        let (size, pose) = (source.header().size, source.header().pose());
        let wanted = Wanted { size, packed: true };
        let Picture::Packed(picture) = source.decode(wanted, limits)? else {
            return Err(TransformError::Unsupported(
                "planes as an overlay".to_owned(),
            ));
        };
        let picture = pose.raster(&picture);
        Ok(Self { picture, place })
    }

    /// The raster with this on it. A grey one gets colours.
    pub fn lay_on(&self, raster: Raster) -> Raster {
        let mut ground = with_colour(raster);
        let room = self.room(ground.size);
        let target = self.picture.size.contained(room).within(room);
        let mark = resize_raster(&self.picture, Region::WHOLE, target);
        let before = |free: u32, part: u16| free as usize * usize::from(part.min(1000)) / 1000;
        let left = before(ground.size.width - mark.size.width, self.place.at.0);
        let top = before(ground.size.height - mark.size.height, self.place.at.1);
        let (stride, channels) = (ground.stride(), ground.layout.channels());
        let lines = ground.samples.chunks_exact_mut(stride).skip(top);
        for (line, row) in lines.zip(mark.rows()) {
            let pixels = line[left * channels..].chunks_exact_mut(channels);
            for (pixel, mark) in pixels.zip(row.chunks_exact(mark.layout.channels())) {
                self.lay_pixel(pixel, mark);
            }
        }
        ground
    }

    /// The largest size it may have on a rendition of this one.
    fn room(&self, rendition: Size) -> Size {
        let share = |side: u32| {
            let part = u64::from(side) * u64::from(self.place.share.min(100)) / 100;
            u32::try_from(part.max(1)).expect("a part of a side")
        };
        Size::new(share(rendition.width), share(rendition.height)).within(self.picture.size)
    }

    fn lay_pixel(&self, pixel: &mut [u8], mark: &[u8]) {
        let [r, g, b, alpha] = rgba(mark);
        let alpha = (u16::from(alpha) * u16::from(self.place.opacity) + 127) / 255;
        let made = over([r, g, b, alpha as u8], rgba(pixel));
        pixel.copy_from_slice(&made[..pixel.len()]);
    }
}

fn rgba(pixel: &[u8]) -> [u8; 4] {
    match *pixel {
        [r, g, b, a] => [r, g, b, a],
        [r, g, b] => [r, g, b, 255],
        [grey, ..] => [grey, grey, grey, 255],
        [] => [0; 4],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raster::Layout;

    fn overlay(share: u8, at: (u16, u16), opacity: u8) -> Overlay {
        let pixels = [[255, 0, 0, 255]; 16].concat();
        Overlay {
            picture: Raster::whole(Size::new(4, 4), Layout::Rgba, pixels),
            place: Place { at, share, opacity },
        }
    }

    fn black(layout: Layout) -> Raster {
        let size = Size::new(10, 8);
        let samples = [0, 0, 0, 255][..layout.channels()].repeat(80);
        Raster::whole(size, layout, samples)
    }

    #[test]
    fn lies_where_it_is_put() {
        let made = overlay(50, (1000, 1000), 255).lay_on(black(Layout::Rgb));
        for (at, pixel) in made.samples.chunks_exact(3).enumerate() {
            let inside = at % 10 >= 6 && at / 10 >= 4;
            assert_eq!(pixel[0], if inside { 255 } else { 0 }, "pixel {at}");
        }
    }

    #[test]
    fn is_made_smaller_but_never_larger() {
        let red = |share| {
            let made = overlay(share, (0, 0), 255).lay_on(black(Layout::Rgba));
            let lit = |pixel: &&[u8]| pixel[0] == 255;
            made.samples.chunks_exact(4).filter(lit).count()
        };
        assert_eq!(red(100), 16);
        assert_eq!(red(25), 4);
    }

    #[test]
    fn lets_through_what_it_may() {
        let made = overlay(100, (0, 0), 128).lay_on(black(Layout::Grey));
        assert_eq!(made.samples[..3], [128, 0, 0]);
    }
}
