//! JPEG, by libjpeg-turbo.
//!
//! The usual picture (YCbCr or grey) is decoded straight to planes, already reduced by the
//! decoder's inverse DCT, and encoded from planes: no colour conversion either way. Damage is an
//! error here, where other decoders fill up with grey.

use super::{Header, Kind, Profile, Wanted, segments};
use crate::limits::Limits;
use crate::raster::{Extent, Layout, Picture, Planar, Raster};
use crate::size::Size;
use crate::transform::TransformError;
use turbojpeg::{
    Colorspace, Compressor, DecompressHeader, Decompressor, PixelFormat, ScalingFactor, Subsamp,
    YuvImage, YuvPlanesImage,
};

/// Scans of a progressive picture; ten are usual. Each is a pass over the whole picture, so that
/// a small file that repeats one thousands of times would hold a thread for minutes.
const MAX_SCANS: u32 = 30;

/// How much larger than the target a decoder's reduction leaves the picture, at least: what the
/// DCT does nearer to the target is visibly softer than Lanczos.
const HEADROOM: f64 = 1.25;

/// Pixels up to which a second pass for better Huffman tables is worth its time: 4–5 % of the
/// bytes at 200 px for next to none, 1–2.5 % from 800 px on for up to a quarter more.
const OPTIMISE_UP_TO: u64 = 300_000;

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

    /// Reduced as far as it may be; pixels also where the colours aren't YCbCr.
    pub fn decode(mut self, wanted: Wanted) -> Result<Picture, TransformError> {
        let scale = reduction(self.header.size, wanted.size);
        self.decompressor
            .set_scaling_factor(scale)
            .map_err(corrupt)?;
        let planes = self.frame.subsamp != Subsamp::Unknown && !wanted.packed;
        match self.frame.colorspace {
            Colorspace::Gray => self.decode_packed(scale, PixelFormat::GRAY),
            Colorspace::YCbCr if planes => self.decode_planes(scale),
            Colorspace::YCbCr | Colorspace::RGB => self.decode_packed(scale, PixelFormat::RGB),
            Colorspace::CMYK | Colorspace::YCCK => self.decode_packed(scale, PixelFormat::CMYK),
        }
    }

    fn decode_planes(mut self, scale: ScalingFactor) -> Result<Picture, TransformError> {
        let (header, subsamp) = (self.frame.scaled(scale), self.frame.subsamp);
        let len = turbojpeg::yuv_pixels_len(header.width, 1, header.height, subsamp);
        let mut image = YuvImage {
            pixels: vec![0; len.map_err(corrupt)?],
            width: header.width,
            align: 1,
            height: header.height,
            subsamp,
        };
        self.decompressor
            .decompress_to_yuv(self.bytes, image.as_deref_mut())
            .map_err(corrupt)?;
        Ok(Picture::Planar(self.split_planes(image, scale)))
    }

    /// The decoder writes one plane behind the other, each as large as whole chroma samples are.
    fn split_planes(&self, image: YuvImage<Vec<u8>>, scale: ScalingFactor) -> Planar {
        let extent = self.extent(scale);
        let chroma_extent = extent.scaled(
            1.0 / image.subsamp.width() as f64,
            1.0 / image.subsamp.height() as f64,
        );
        let (luma_size, chroma_size) = (plane_size(image.y_size()), plane_size(image.uv_size()));
        let mut luma = image.pixels;
        let mut blue = luma.split_off(Layout::Grey.bytes(luma_size));
        let red = blue.split_off(Layout::Grey.bytes(chroma_size));
        let plane = |size, samples, extent| Raster {
            extent,
            ..Raster::whole(size, Layout::Grey, samples)
        };
        Planar {
            luma: plane(luma_size, luma, extent),
            chroma: [
                plane(chroma_size, blue, chroma_extent),
                plane(chroma_size, red, chroma_extent),
            ],
        }
    }

    fn decode_packed(
        mut self,
        scale: ScalingFactor,
        format: PixelFormat,
    ) -> Result<Picture, TransformError> {
        let header = self.frame.scaled(scale);
        let pitch = header.width * format.size();
        let mut image = turbojpeg::Image {
            pixels: vec![0; pitch * header.height],
            width: header.width,
            pitch,
            height: header.height,
            format,
        };
        self.decompressor
            .decompress(self.bytes, image.as_deref_mut())
            .map_err(corrupt)?;
        let (layout, samples) = match format {
            PixelFormat::GRAY => (Layout::Grey, image.pixels),
            PixelFormat::CMYK => (Layout::Rgb, self.rgb_from_cmyk(&image.pixels)),
            _ => (Layout::Rgb, image.pixels),
        };
        let size = plane_size((header.width, header.height));
        Ok(Picture::Packed(Raster {
            extent: self.extent(scale),
            ..Raster::whole(size, layout, samples)
        }))
    }

    /// By the press's profile; without one, ink is taken to absorb its complement.
    fn rgb_from_cmyk(&self, cmyk: &[u8]) -> Vec<u8> {
        let inverted = segments::has_adobe_marker(self.bytes);
        if let Some(profile) = self
            .header
            .profile
            .as_ref()
            .filter(|profile| profile.is_of_ink())
        {
            let mask = if inverted { 255 } else { 0 };
            let ink: Vec<u8> = cmyk.iter().map(|level| level ^ mask).collect();
            if let Some(rgb) = profile.rgb_from_ink(&ink) {
                return rgb;
            }
        }
        let paper = |ink: u8| u16::from(if inverted { ink } else { 255 - ink });
        let (pixels, _) = cmyk.as_chunks::<4>();
        let light = |ink: u8, black: u8| (paper(ink) * paper(black) / 255) as u8;
        pixels
            .iter()
            .flat_map(|&[c, m, y, k]| [light(c, k), light(m, k), light(y, k)])
            .collect()
    }

    /// The true size at this scale: the decoder rounds up to whole samples.
    fn extent(&self, scale: ScalingFactor) -> Extent {
        let factor = scale.num() as f64 / scale.denom() as f64;
        Extent::of(self.header.size).scaled(factor, factor)
    }
}

/// The strongest reduction in the decoder that leaves [`HEADROOM`] over the target.
fn reduction(source: Size, target: Size) -> ScalingFactor {
    let shrink = f64::min(
        f64::from(source.width) / f64::from(target.width),
        f64::from(source.height) / f64::from(target.height),
    );
    (1..8)
        .map(|eighths| ScalingFactor::new(eighths, 8))
        .find(|scale| shrink * scale.num() as f64 >= HEADROOM * scale.denom() as f64)
        .unwrap_or(ScalingFactor::ONE)
}

fn plane_size((width, height): (usize, usize)) -> Size {
    let side = |side: usize| u32::try_from(side).expect("a JPEG's side has 16 bits, and padding");
    Size::new(side(width), side(height))
}

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

fn corrupt(error: turbojpeg::Error) -> TransformError {
    TransformError::Corrupt(error.to_string())
}

fn failed(error: turbojpeg::Error) -> TransformError {
    TransformError::Encode(error.to_string())
}
