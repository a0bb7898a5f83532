//! What libjpeg-turbo reads: everything.

use super::super::segments;
use super::{Form, Scale, Source, corrupt, plane_size};
use crate::raster::{Layout, Picture, Planar, Raster};
use crate::transform::TransformError;
use turbojpeg::{Colorspace, PixelFormat, ScalingFactor, Subsamp, YuvImage};

impl Source<'_> {
    pub(super) fn decode_by_turbo(&mut self, form: Form) -> Result<Picture, TransformError> {
        let Form { scale, packed } = form;
        self.decompressor
            .set_scaling_factor(scale.factor())
            .map_err(corrupt)?;
        let planes = self.frame.subsamp != Subsamp::Unknown && !packed;
        match self.frame.colorspace {
            Colorspace::Gray => self.decode_packed(scale, PixelFormat::GRAY),
            Colorspace::YCbCr if planes => self.decode_planes(scale),
            Colorspace::YCbCr | Colorspace::RGB => self.decode_packed(scale, PixelFormat::RGB),
            Colorspace::CMYK | Colorspace::YCCK => self.decode_packed(scale, PixelFormat::CMYK),
        }
    }

    fn decode_planes(&mut self, scale: Scale) -> Result<Picture, TransformError> {
        let (header, subsamp) = (self.frame.scaled(scale.factor()), self.frame.subsamp);
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
    fn split_planes(&self, image: YuvImage<Vec<u8>>, scale: Scale) -> Planar {
        let extent = scale.extent(self.header.size);
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
        &mut self,
        scale: Scale,
        format: PixelFormat,
    ) -> Result<Picture, TransformError> {
        let header = self.frame.scaled(scale.factor());
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
            extent: scale.extent(self.header.size),
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
}

impl Scale {
    fn factor(self) -> ScalingFactor {
        ScalingFactor::new(usize::from(self.0), 8)
    }
}
