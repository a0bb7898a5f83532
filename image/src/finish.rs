//! What is done to a picture once it has its size: colours, effects, ground, what lies on it.

use super::codec::{Format, Header};
use super::ops::{Overlays, blur, flatten, grey, pad, sharpen};
use super::plan::{Colour, Plan};
use super::raster::{Layout, Picture, Raster};
use super::transform::{Shape, TransformError};

const WHITE: Colour = Colour {
    red: 255,
    green: 255,
    blue: 255,
    alpha: 255,
};

/// White of which nothing is seen.
const CLEAR: Colour = Colour { alpha: 0, ..WHITE };

/// The picture as it is written in `format`. The order is fixed, so that a plan has one meaning.
pub fn finish(
    picture: Picture,
    header: &Header,
    plan: &Plan,
    shape: &Shape,
    format: Format,
    overlays: &Overlays,
) -> Result<Picture, TransformError> {
    // A profile is of the colours that there were.
    let picture = match (picture, &header.profile) {
        (Picture::Packed(raster), Some(profile)) => Picture::Packed(profile.to_srgb(raster)),
        (picture, _) => picture,
    };
    let picture = if plan.grey { grey(picture) } else { picture };
    let Picture::Packed(raster) = picture else {
        return Ok(picture);
    };
    let raster = sharpen(raster, plan.sharpen.unwrap_or(0));
    let raster = blur(raster, plan.blur.unwrap_or(0));
    let raster = grounded(raster, plan, shape, format);
    let raster = match &plan.watermark {
        Some(name) => overlays
            .get(name)
            .ok_or_else(|| TransformError::Unsupported(format!("no overlay is called {name}")))?
            .lay_on(raster),
        None => raster,
    };
    Ok(Picture::Packed(raster))
}

/// On its background, as far as it has one and the format needs one, out to its canvas.
fn grounded(raster: Raster, plan: &Plan, shape: &Shape, format: Format) -> Raster {
    let ground = match plan.background {
        Some(colour) if format.has_alpha() => colour,
        // On something that lets through, white is behind.
        Some(colour) => solid(colour),
        None if format.has_alpha() => CLEAR,
        None => WHITE,
    };
    let raster = match plan.background {
        None if format.has_alpha() => raster,
        _ => flatten(raster, ground),
    };
    pad(
        raster,
        shape.geometry.canvas,
        plan.gravity.thousandths(),
        ground,
    )
}

fn solid(colour: Colour) -> Colour {
    let pixel = vec![colour.red, colour.green, colour.blue, colour.alpha];
    let dot = Raster::whole(super::size::Size::new(1, 1), Layout::Rgba, pixel);
    let laid = flatten(dot, WHITE).samples;
    Colour {
        red: laid[0],
        green: laid[1],
        blue: laid[2],
        alpha: 255,
    }
}
