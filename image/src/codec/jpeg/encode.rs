//! Renditions as JPEG: baseline, from planes where there are any.

use crate::raster::{Layout, Picture, Planar, Raster};
use crate::size::Size;
use crate::transform::TransformError;
use turbojpeg::{Compressor, PixelFormat, Subsamp, YuvPlanesImage};

/// Pixels up to which a second pass for better Huffman tables is worth its time: 4–5 % of the
/// bytes at 200 px for next to none, 1–2.5 % from 800 px on for up to a quarter more.
const OPTIMISE_UP_TO: u64 = 300_000;

/// Baseline; 4:2:0, or grey.
pub fn encode(picture: Picture, quality: u8) -> Result<Vec<u8>, TransformError> {
    let mut compressor = Compressor::new().map_err(failed)?;
    compressor.set_quality(i32::from(quality)).map_err(failed)?;
    compressor
        .set_optimize(picture.size().pixels() <= OPTIMISE_UP_TO)
        .map_err(failed)?;
    match picture {
        Picture::Planar(planar) => encode_planes(&mut compressor, planar),
        Picture::Packed(raster) => encode_packed(&mut compressor, &raster),
    }
}

/// The planes are 4:2:0 by now: see `resize`.
fn encode_planes(compressor: &mut Compressor, planar: Planar) -> Result<Vec<u8>, TransformError> {
    let Size { width, height } = planar.luma.size;
    let luma = pad_to_even(planar.luma);
    let [blue, red] = planar.chroma;
    let image = YuvPlanesImage {
        y_stride: luma.stride(),
        u_stride: blue.stride(),
        v_stride: red.stride(),
        y_plane: luma.samples.as_slice(),
        u_plane: blue.samples.as_slice(),
        v_plane: red.samples.as_slice(),
        width: width as usize,
        height: height as usize,
        subsamp: Subsamp::Sub2x2,
    };
    compressor
        .compress_yuv_planes_to_vec(&image)
        .map_err(failed)
}

/// The encoder reads luma for whole chroma samples: an odd plane's last column and row again.
fn pad_to_even(plane: Raster) -> Raster {
    let size = Size::new(
        plane.size.width.next_multiple_of(2),
        plane.size.height.next_multiple_of(2),
    );
    if size == plane.size {
        return plane;
    }
    let mut padded = Vec::with_capacity(Layout::Grey.bytes(size));
    for row in plane.rows() {
        padded.extend_from_slice(row);
        if size.width > plane.size.width {
            padded.extend(row.last());
        }
    }
    if size.height > plane.size.height {
        padded.extend_from_within(padded.len() - size.width as usize..);
    }
    Raster::whole(size, Layout::Grey, padded)
}

/// Alpha is gone by now: the picture was laid on its ground.
fn encode_packed(compressor: &mut Compressor, raster: &Raster) -> Result<Vec<u8>, TransformError> {
    let (format, subsamp) = match raster.layout {
        Layout::Grey => (PixelFormat::GRAY, Subsamp::Gray),
        Layout::Rgb => (PixelFormat::RGB, Subsamp::Sub2x2),
        Layout::Rgba => (PixelFormat::RGBX, Subsamp::Sub2x2),
    };
    compressor.set_subsamp(subsamp).map_err(failed)?;
    let image = turbojpeg::Image {
        pixels: raster.samples.as_slice(),
        width: raster.size.width as usize,
        pitch: raster.size.width as usize * format.size(),
        height: raster.size.height as usize,
        format,
    };
    compressor.compress_to_vec(image).map_err(failed)
}

fn failed(error: turbojpeg::Error) -> TransformError {
    TransformError::Encode(error.to_string())
}
