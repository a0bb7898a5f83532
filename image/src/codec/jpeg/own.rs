//! What `lakh-jpeg` reads: the usual picture, in half to nine tenths of libjpeg-turbo's time.

use super::{Form, plane_size};
use crate::codec::Header;
use crate::raster::{Extent, Layout, Picture, Planar, Raster};
use lakh_jpeg::{Decoder, Plane, Planes, Sampling};

/// Pixels from which on it is quicker: its tables take as long as fifty thousand more.
const FROM: u64 = 100_000;

/// What it reads of these forms, all at once. Not what is small, of a rare kind or damaged, nor
/// colours that are wanted as pixels: all that is libjpeg-turbo's.
pub fn decode(jpeg: &[u8], header: &Header, forms: &[Form]) -> Vec<(Form, Picture)> {
    read(jpeg, header, forms).unwrap_or_default()
}

fn read(jpeg: &[u8], header: &Header, forms: &[Form]) -> Option<Vec<(Form, Picture)>> {
    let pixels = header.size.pixels();
    if pixels < FROM {
        return None;
    }
    let decoder = Decoder::open(jpeg).ok()?;
    let sampling = decoder.header().sampling;
    let mut forms = forms.to_vec();
    forms.retain(|form| !form.packed || sampling == Sampling::Grey);
    forms.dedup();
    let scales = forms
        .iter()
        .map(|form| lakh_jpeg::Scale::eighths(form.scale.0));
    let scales: Vec<_> = scales.collect::<Option<_>>()?;
    let planes = decoder.decode_all(&scales, pixels).ok()?;
    let picture = |(form, planes): (Form, Planes)| {
        let extent = form.scale.extent(header.size);
        (form, picture(planes, extent, sampling))
    };
    Some(forms.into_iter().zip(planes).map(picture).collect())
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
