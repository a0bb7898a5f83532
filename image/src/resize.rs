//! Reduction to the planned size: Lanczos with three lobes, each plane on its own.

use super::raster::{Extent, Picture, Planar, Raster};
use super::size::Size;
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

/// The picture at `target`, its padding gone; planes come out as 4:2:0.
pub fn resize(picture: Picture, target: Size) -> Picture {
    let mut resizer = Resizer::new();
    match picture {
        Picture::Packed(raster) => {
            let extent = raster.extent;
            Picture::Packed(resample(&mut resizer, raster, extent, target))
        }
        Picture::Planar(planar) => Picture::Planar(resize_planes(&mut resizer, planar, target)),
    }
}

fn resize_planes(resizer: &mut Resizer, planar: Planar, target: Size) -> Planar {
    let half = target.halved();
    // Beside an odd luma plane the last chroma sample reaches half a sample past the picture,
    // and so must what it is made from; the source has no more than its own rounding up there.
    let by_width = 2.0 * f64::from(half.width) / f64::from(target.width);
    let by_height = 2.0 * f64::from(half.height) / f64::from(target.height);
    let chroma = planar.chroma.map(|plane| {
        let extent = plane.extent.scaled(by_width, by_height).within(plane.size);
        resample(resizer, plane, extent, half)
    });
    let extent = planar.luma.extent;
    Planar {
        luma: resample(resizer, planar.luma, extent, target),
        chroma,
    }
}

/// The part of `raster` within `extent`, as large as `target`.
fn resample(resizer: &mut Resizer, raster: Raster, extent: Extent, target: Size) -> Raster {
    if raster.size == target && extent == Extent::of(target) {
        return Raster { extent, ..raster };
    }
    let Size { width, height } = raster.size;
    let source = ImageRef::new(width, height, &raster.samples, raster.layout.pixel_type())
        .expect("a raster holds exactly its size's samples");
    let mut reduced = Image::new(target.width, target.height, raster.layout.pixel_type());
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::Lanczos3))
        .crop(0.0, 0.0, extent.width, extent.height);
    resizer
        .resize(&source, &mut reduced, &options)
        .expect("one pixel type, and an extent inside the raster");
    Raster::whole(target, raster.layout, reduced.into_vec())
}
