//! Animations: every frame through the same steps, out as an animated WebP.

use super::codec::{Animation, Format, Header, animation};
use super::finish::finish;
use super::limits::Limits;
use super::ops::Overlays;
use super::plan::{Output, Plan, Quality};
use super::raster::Picture;
use super::transform::{Rendition, Shape, TransformError};

/// Where a plan leaves it open: frames pass too quickly to be looked at one by one.
const QUALITY: u8 = 75;

/// Whether all frames are asked for and can be written.
pub fn is_animated(plan: &Plan, header: &Header) -> bool {
    let written = match plan.output {
        Output::Webp | Output::WebpLossless | Output::Auto { webp: true, .. } => true,
        Output::Original => header.kind.written() == Some(Format::Webp),
        _ => false,
    };
    // To trim each frame by itself would make them jump.
    plan.animated && header.frames > 1 && written && plan.trim.is_none()
}

/// Where a frame's part is cut out is told by the first, so that the picture holds still.
pub fn animate(
    source: &[u8],
    header: &Header,
    plan: &Plan,
    limits: &Limits,
    overlays: &Overlays,
) -> Result<Rendition, TransformError> {
    let mut written: Option<(Animation, Shape)> = None;
    for frame in animation(source, header, limits)? {
        let frame = frame?;
        let picture = Picture::Packed(frame.picture);
        let (animation, shape) = match &mut written {
            Some(begun) => begun,
            None => written.insert(begin(&picture, header, plan, limits)?),
        };
        let scaled = shape.scaled(&picture);
        let made = finish(scaled, header, plan, shape, Format::Webp, overlays)?;
        let Picture::Packed(made) = made else {
            return Err(TransformError::Encode("planes in an animation".to_owned()));
        };
        animation.add(made, frame.shown_for)?;
    }
    let nothing = || TransformError::Corrupt("no frame".to_owned());
    let (animation, shape) = written.ok_or_else(nothing)?;
    let size = shape.geometry.canvas;
    Ok(Rendition::new(animation.finish()?, "image/webp", size))
}

fn begin(
    first: &Picture,
    header: &Header,
    plan: &Plan,
    limits: &Limits,
) -> Result<(Animation, Shape), TransformError> {
    let shape = Shape::of(header.size, header, plan, first);
    let canvas = shape.geometry.canvas;
    limits.check_rendition(canvas)?;
    limits.check_animation(canvas, header.frames)?;
    let quality = match plan.quality {
        _ if plan.output == Output::WebpLossless => None,
        Quality::Fixed(quality) => Some(quality),
        Quality::Auto => Some(QUALITY),
    };
    Ok((Animation::new(canvas, quality)?, shape))
}
