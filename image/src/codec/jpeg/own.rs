//! What `lakh-jpeg` reads: the usual picture, in half to nine tenths of libjpeg-turbo's time.

use super::{Scale, plane_size};
use crate::codec::Header;
use crate::raster::{Extent, Layout, Picture, Planar, Raster};
use lakh_jpeg::{Decoder, Plane, Planes, Sampling};

/// Pixels from which on it is quicker: its tables take as long as fifty thousand more.
const FROM: u64 = 100_000;

/// None: it is small, of a rare kind, damaged, or coloured and wanted as pixels; all that is
/// libjpeg-turbo's.
pub fn decode(jpeg: &[u8], header: &Header, scale: Scale, packed: bool) -> Option<Picture> {
    let pixels = header.size.pixels();
    if pixels < FROM {
        return None;
    }
    let decoder = Decoder::open(jpeg).ok()?;
    let sampling = decoder.header().sampling;
    if packed && sampling != Sampling::Grey {
        return None;
    }
    let eighths = lakh_jpeg::Scale::eighths(scale.0)?;
    let planes = decoder.decode(eighths, pixels).ok()?;
    Some(picture(planes, scale.extent(header.size), sampling))
}

fn picture(planes: Planes, extent: Extent, sampling: Sampling) -> Picture {
    let luma = raster(planes.luma, extent);
    let Some(chroma) = planes.chroma else {
        return Picture::Packed(luma);
    };
    let (across, down) = sampling.luma_blocks();
    let extent = extent.scaled(1.0 / across as f64, 1.0 / down as f64);
    Picture::Planar(Planar {
        luma,
        chroma: chroma.map(|plane| raster(plane, extent)),
    })
}

fn raster(plane: Plane, extent: Extent) -> Raster {
    let size = plane_size((plane.width, plane.height));
    Raster {
        extent,
        ..Raster::whole(size, Layout::Grey, plane.into_samples())
    }
}
