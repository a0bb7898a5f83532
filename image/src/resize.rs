//! Scaling to the planned size: Lanczos with three lobes, each plane on its own. What lets its
//! background through weighs as much as it hides.

use super::geometry::Region;
use super::raster::{Extent, Layout, Picture, Planar, Raster};
use super::size::Size;
use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::{U8, U8x3, U8x4};
use fast_image_resize::{FilterType, PixelTrait, ResizeAlg, ResizeOptions, Resizer};

/// The region at `target`, the picture's padding gone; planes come out as 4:2:0.
pub fn resize(picture: &Picture, region: Region, target: Size) -> Picture {
    let mut resizer = Resizer::new();
    match picture {
        Picture::Packed(raster) => Picture::Packed(resample(&mut resizer, raster, region, target)),
        Picture::Planar(planar) => {
            Picture::Planar(resize_planes(&mut resizer, planar, region, target))
        }
    }
}

/// One raster, as [`resize`] does it.
pub fn resize_raster(raster: &Raster, region: Region, target: Size) -> Raster {
    resample(&mut Resizer::new(), raster, region, target)
}

fn resize_planes(resizer: &mut Resizer, planar: &Planar, region: Region, target: Size) -> Planar {
    let half = target.halved();
    // Beside an odd luma plane the last chroma sample reaches half a sample past the picture,
    // and so must what it is made from; the source has no more than its own rounding up there.
    let reaching = Region {
        width: region.width * 2.0 * f64::from(half.width) / f64::from(target.width),
        height: region.height * 2.0 * f64::from(half.height) / f64::from(target.height),
        ..region
    };
    Planar {
        luma: resample(resizer, &planar.luma, region, target),
        chroma: planar
            .chroma
            .each_ref()
            .map(|plane| resample(resizer, plane, reaching, half)),
    }
}

/// The region of what is picture in `raster`, as large as `target`.
fn resample(resizer: &mut Resizer, raster: &Raster, region: Region, target: Size) -> Raster {
    let part = Part::of(raster, region);
    if let Some((left, top)) = part.whole_pixels(target) {
        return raster.cut(left, top, target);
    }
    match raster.layout {
        Layout::Grey => convolve::<U8>(resizer, raster, &part, target),
        Layout::Rgb => convolve::<U8x3>(resizer, raster, &part, target),
        Layout::Rgba => convolve::<U8x4>(resizer, raster, &part, target),
    }
}

/// Typed, because what picks the type at run time would be compiled for thirteen of them.
fn convolve<P: PixelTrait + Default>(
    resizer: &mut Resizer,
    raster: &Raster,
    part: &Part,
    target: Size,
) -> Raster {
    let Size { width, height } = raster.size;
    let source = TypedImageRef::<P>::from_buffer(width, height, &raster.samples)
        .expect("a raster holds exactly its size's samples");
    let mut samples = vec![0; raster.layout.bytes(target)];
    let mut scaled = TypedImage::<P>::from_buffer(target.width, target.height, &mut samples)
        .expect("as many samples as the target has");
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(part.left, part.top, part.width, part.height);
    resizer
        .resize_typed(&source, &mut scaled, &options)
        .expect("a part inside the raster");
    Raster::whole(target, raster.layout, samples)
}

/// A region in a raster's samples.
struct Part {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Part {
    /// Inside the raster, whatever the fractions were rounded to.
    fn of(raster: &Raster, region: Region) -> Self {
        let Extent { width, height } = raster.extent;
        let (across, down) = (f64::from(raster.size.width), f64::from(raster.size.height));
        let left = snapped(region.left * width).min(across);
        let top = snapped(region.top * height).min(down);
        Self {
            left,
            top,
            width: snapped(region.width * width).min(across - left),
            height: snapped(region.height * height).min(down - top),
        }
    }

    /// The corner of a part that is as large as the target already.
    fn whole_pixels(&self, target: Size) -> Option<(u32, u32)> {
        let same = self.width == f64::from(target.width) && self.height == f64::from(target.height);
        let whole = self.left.fract() == 0.0 && self.top.fract() == 0.0;
        (same && whole).then_some((self.left as u32, self.top as u32))
    }
}

/// A fraction of a side that was meant to be whole pixels is: rounding errors don't resample.
fn snapped(samples: f64) -> f64 {
    let whole = samples.round();
    if (samples - whole).abs() < 1e-6 {
        whole
    } else {
        samples
    }
}
