//! JPEG: read by `lakh-jpeg` where that can, else by libjpeg-turbo, which also writes.
//!
//! The usual picture (YCbCr or grey) is decoded straight to planes, already reduced by the
//! decoder's inverse DCT, and encoded from planes: no colour conversion either way. Damage is an
//! error here, where other decoders fill up with grey.

mod encode;
mod own;
mod turbo;

pub use encode::encode;

use super::{Header, Kind, Profile, Wanted, segments};
use crate::limits::Limits;
use crate::raster::{Extent, Picture};
use crate::size::Size;
use crate::transform::TransformError;
use std::rc::Rc;
use turbojpeg::{DecompressHeader, Decompressor};

/// Scans of a progressive picture; ten are usual. Each is a pass over the whole picture, so that
/// a small file that repeats one thousands of times would hold a thread for minutes.
const MAX_SCANS: u32 = 30;

/// How much larger than the target a decoder's reduction leaves the picture, at least: what the
/// DCT does nearer to the target is visibly softer than Lanczos.
const HEADROOM: f64 = 1.25;

pub struct Source<'s> {
    bytes: &'s [u8],
    decompressor: Decompressor,
    /// What the decoder says, beside what all formats have.
    frame: DecompressHeader,
    header: Header,
}

impl<'s> Source<'s> {
    pub fn open(bytes: &'s [u8], limits: &Limits) -> Result<Self, TransformError> {
        let mut decompressor = Decompressor::new().map_err(corrupt)?;
        decompressor.set_scan_limit(MAX_SCANS).map_err(corrupt)?;
        let frame = decompressor.read_header(bytes).map_err(corrupt)?;
        if frame.is_lossless {
            return Err(TransformError::Unsupported("lossless JPEG".to_owned()));
        }
        let size = plane_size((frame.width, frame.height));
        limits.check_size(size)?;
        let profile = segments::colour_profile(bytes);
        let header = Header {
            kind: Kind::Jpeg,
            size,
            orientation: segments::orientation(bytes),
            frames: 1,
            profile: profile.as_deref().and_then(Profile::read),
            exif: segments::exif(bytes).map(<[u8]>::to_vec),
        };
        Ok(Self {
            bytes,
            decompressor,
            frame,
            header,
        })
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reduced as far as they may be; pixels also where the colours aren't YCbCr. What is wanted
    /// in the same form is one picture.
    pub fn decode_all(mut self, wanted: &[Wanted]) -> Vec<Result<Rc<Picture>, TransformError>> {
        let form = |wanted: &Wanted| Form {
            scale: Scale::reducing(self.header.size, wanted.size),
            packed: wanted.packed,
        };
        let forms: Vec<_> = wanted.iter().map(form).collect();
        let mut made: Vec<_> = own::decode(self.bytes, &self.header, &forms)
            .into_iter()
            .map(|(form, picture)| (form, Ok(Rc::new(picture))))
            .collect();
        for form in &forms {
            if made.iter().all(|(known, _)| known != form) {
                made.push((*form, self.decode_by_turbo(*form).map(Rc::new)));
            }
        }
        let of_form = |form| made.iter().find(|(known, _)| known == form);
        let pictures = forms.iter().filter_map(of_form);
        pictures.map(|(_, picture)| picture.clone()).collect()
    }
}

/// What a picture is decoded to. Its pixels depend on nothing else.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Form {
    scale: Scale,
    /// As pixels rather than planes.
    packed: bool,
}

/// A size in eighths of the full one, as JPEG's blocks can be decoded to: 1 to 8.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Scale(u8);

impl Scale {
    /// The strongest reduction that leaves [`HEADROOM`] over the target.
    fn reducing(source: Size, target: Size) -> Self {
        let shrink = f64::min(
            f64::from(source.width) / f64::from(target.width),
            f64::from(source.height) / f64::from(target.height),
        );
        let enough = |eighths: &u8| shrink * f64::from(*eighths) >= HEADROOM * 8.0;
        Self((1..8).find(enough).unwrap_or(8))
    }

    /// The true size at this scale: decoders round up to whole samples.
    fn extent(self, full: Size) -> Extent {
        let factor = f64::from(self.0) / 8.0;
        Extent::of(full).scaled(factor, factor)
    }
}

fn plane_size((width, height): (usize, usize)) -> Size {
    let side = |side: usize| u32::try_from(side).expect("a JPEG's side has 16 bits, and padding");
    Size::new(side(width), side(height))
}

fn corrupt(error: turbojpeg::Error) -> TransformError {
    TransformError::Corrupt(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{jpeg, scene};
    use crate::geometry::Region;
    use crate::ops::luma;
    use crate::resize::resize;
    use crate::similarity::similarity;
    use turbojpeg::Subsamp;

    /// What the golden images ask for.
    const SIMILAR: f64 = 0.95;

    #[test]
    fn renditions_are_alike_whoever_decodes_at_every_scale() {
        let limits = Limits::from(&crate::ImageSettings::default());
        let kinds = [
            Subsamp::None,
            Subsamp::Sub2x1,
            Subsamp::Sub1x2,
            Subsamp::Sub2x2,
        ];
        for (turn, subsamp) in (0..).zip(kinds) {
            let bytes = jpeg(&scene(477 + turn, 359 - turn), subsamp, false);
            for scale in (1..=8).map(Scale) {
                let form = Form {
                    scale,
                    packed: false,
                };
                let mut source = Source::open(&bytes, &limits).expect("a JPEG");
                let theirs = source.decode_by_turbo(form).expect("a picture");
                let (_, ours) = own::decode(&bytes, &source.header, &[form])
                    .pop()
                    .expect("the usual kind, and large enough");
                let target = scale.extent(source.header.size).scaled(0.8, 0.8).rounded();
                let [ours, theirs] =
                    [ours, theirs].map(|p| luma(&resize(&p, Region::WHOLE, target)));
                let width = target.width as usize;
                let found = similarity(&ours.samples, &theirs.samples, width);
                assert!(found > SIMILAR, "{subsamp:?} {}/8: {found}", scale.0);
            }
        }
    }
}
