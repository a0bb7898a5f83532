//! A source and plans become renditions: open, decode, scale, turn upright, finish, encode.
//!
//! Called on the pool's threads. Pure but for the look at the clock that the deadline needs: bytes
//! in, bytes out. What a source says of itself is checked against the limits before anything is
//! allocated for its pixels, and a source that ends early or contradicts itself is an error,
//! never half a picture.

use super::animate::animate;
use super::codec::{Credits, Format, Header, Manner, Wanted, encode};
use super::decoded::Decoded;
use super::finish::finish;
use super::geometry::Geometry;
use super::info;
use super::limits::Limits;
use super::ops::{Overlays, point_of_detail, trim};
use super::orient::Pose;
use super::plan::{Gravity, Output, Plan, Quality};
use super::quality::least;
use super::raster::Picture;
use super::resize::resize;
use super::size::Size;

/// A finished variant. Of the source's metadata it says whose the picture is at most, unless
/// re-encoding would have changed nothing but made it larger: then it is the source itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendition {
    pub bytes: Vec<u8>,
    pub content_type: &'static str,
    pub width: u32,
    pub height: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransformError {
    #[error("too large: {what}")]
    TooLarge { what: String },
    #[error("not an image that can be transformed: {0}")]
    Unsupported(String),
    #[error("SVG is text with links and scripts in it, and isn't transformed")]
    Svg,
    #[error("the image is damaged: {0}")]
    Corrupt(String),
    #[error("the result could not be encoded: {0}")]
    Encode(String),
    #[error("the time for it has run out")]
    Deadline,
}

/// Makes the rendition that `plan` asks for. Takes tens of milliseconds of CPU.
pub fn transform(
    source: &[u8],
    plan: &Plan,
    limits: &Limits,
    overlays: &Overlays,
) -> Result<Rendition, TransformError> {
    let plans = std::slice::from_ref(plan);
    let mut made = transform_all(source, plans, limits, overlays);
    made.pop().expect("as many renditions as plans")
}

/// As many renditions as plans, in their order, of one decoding: to the byte as [`transform`] makes
/// each.
pub fn transform_all(
    source: &[u8],
    plans: &[Plan],
    limits: &Limits,
    overlays: &Overlays,
) -> Vec<Result<Rendition, TransformError>> {
    match Decoded::new(source, plans, limits) {
        Ok(decoded) => decoded.renditions(overlays, || *limits).collect(),
        Err(error) => vec![Err(error); plans.len()],
    }
}

/// What a rendition is made of and within.
pub struct Work<'w> {
    pub source: &'w [u8],
    pub header: &'w Header,
    pub limits: &'w Limits,
    pub overlays: &'w Overlays,
}

impl Work<'_> {
    pub fn animation(&self, plan: &Plan) -> Result<Rendition, TransformError> {
        self.limits.check_time()?;
        let made = animate(self.source, self.header, plan, self.limits, self.overlays)?;
        self.limits.check_output(&made.bytes)?;
        Ok(made)
    }

    pub fn rendition(&self, plan: &Plan, picture: &Picture) -> Result<Rendition, TransformError> {
        self.limits.check_time()?;
        let made = match plan.output {
            Output::Info => info::describe(self.source, self.header, picture),
            _ => self.still(plan, picture)?,
        };
        self.limits.check_output(&made.bytes)?;
        Ok(made)
    }

    fn still(&self, plan: &Plan, picture: &Picture) -> Result<Rendition, TransformError> {
        let plan = &placeholder(plan);
        let trimmed = plan.trim.map(|tolerance| trimmed(picture, tolerance));
        let (picture, stored) = match &trimmed {
            Some(picture) => (picture, picture.size()),
            None => (picture, self.header.size),
        };
        let shape = Shape::of(stored, self.header, plan, picture);
        self.limits.check_rendition(shape.geometry.canvas)?;
        let scaled = shape.scaled(picture);
        let format = choose(plan.output, self.header, &scaled);
        let finished = finish(scaled, self.header, plan, &shape, format, self.overlays)?;
        self.limits.check_time()?;

        let size = finished.size();
        let quality = match plan.quality {
            Quality::Fixed(quality) => quality,
            Quality::Auto => least(&finished, format, self.limits)?,
        };
        let credits = self.header.exif.as_deref().filter(|_| plan.copyright);
        let credits = credits.and_then(Credits::read);
        let bytes = encode(finished, Manner { format, quality }, credits.as_ref())?;
        let may_stay = self.is_only_written_again(plan, &shape, format);
        if may_stay && bytes.len() > self.source.len() {
            let kind = self.header.kind;
            return Ok(Rendition::new(
                self.source.to_vec(),
                kind.content_type(),
                size,
            ));
        }
        Ok(Rendition::new(bytes, format.kind().content_type(), size))
    }

    /// Whether the client may as well have the source: nothing about it was to change, and it is
    /// in the format asked for, or the choice was ours and everybody reads the source's.
    fn is_only_written_again(&self, plan: &Plan, shape: &Shape, format: Format) -> bool {
        let same_format = self.header.kind.written() == Some(format);
        let our_choice = matches!(plan.output, Output::Auto { .. });
        (same_format || our_choice && self.header.kind.is_read_by_all())
            && shape.changes_nothing(self.header.size)
            && !changes_pixels(plan)
    }
}

/// What of a stored picture is shown, how it is turned, how large it becomes.
pub struct Shape {
    pub geometry: Geometry,
    pose: Pose,
    region: super::geometry::Region,
}

impl Shape {
    /// `picture` is what is stored in this size, or its reduction.
    pub fn of(stored: Size, header: &Header, plan: &Plan, picture: &Picture) -> Self {
        let pose = header.pose().turned(plan.turn);
        let upright = pose.size(stored);
        let geometry = Geometry::of(upright, plan);
        let thousandths = |part: u16| f64::from(part.min(1000)) / 1000.0;
        let point = match plan.gravity {
            Gravity::Auto if geometry.cuts(upright) => {
                let region = geometry.region(upright, (0.5, 0.5));
                point_of_detail(picture, pose, (region.width, region.height))
            }
            Gravity::Auto | Gravity::Centre => (0.5, 0.5),
            Gravity::Point { x, y } => (thousandths(x), thousandths(y)),
        };
        let region = geometry.region(upright, point).stored(pose);
        Self {
            geometry,
            pose,
            region,
        }
    }

    /// Upright, at its size. A picture that lies on its side is scaled lying, and turned when
    /// it's small.
    pub fn scaled(&self, picture: &Picture) -> Picture {
        let target = self.pose.size(self.geometry.content);
        self.pose.picture(resize(picture, self.region, target))
    }

    fn changes_nothing(&self, stored: Size) -> bool {
        self.pose == Pose::UPRIGHT
            && self.geometry.canvas == stored
            && self.geometry.content == stored
            && !self.geometry.cuts(stored)
    }
}

/// What a still needs to be made of.
pub fn wanted(plan: &Plan, header: &Header) -> Wanted {
    let plan = &placeholder(plan);
    // Where its edges end can only be told in full.
    if plan.trim.is_some() {
        return Wanted {
            size: header.size,
            packed: true,
        };
    }
    if plan.output == Output::Info {
        return info::wanted(header);
    }
    let pose = header.pose().turned(plan.turn);
    let upright = pose.size(header.size);
    let geometry = Geometry::of(upright, plan);
    // JPEG has no alpha, so that what becomes of a JPEG never depends on its pixels.
    let format = format_of(plan.output, header, false);
    let padded = geometry.canvas != geometry.content;
    Wanted {
        size: pose.size(geometry.whole(upright)),
        packed: padded || needs_pixels(plan) || header.profile.is_some() || !format.takes_planes(),
    }
}

/// Greying alone is done on planes.
fn needs_pixels(plan: &Plan) -> bool {
    plan.blur.is_some() || plan.sharpen.is_some() || plan.watermark.is_some()
}

fn changes_pixels(plan: &Plan) -> bool {
    needs_pixels(plan) || plan.grey || plan.background.is_some() || plan.trim.is_some()
}

fn trimmed(picture: &Picture, tolerance: u8) -> Picture {
    match picture {
        Picture::Packed(raster) => {
            let whole = raster.cut(0, 0, raster.extent.rounded().within(raster.size));
            Picture::Packed(trim(whole, tolerance))
        }
        // `wanted` asked for pixels.
        Picture::Planar(_) => unreachable!("a picture that is trimmed was decoded to pixels"),
    }
}

/// The longest side of a placeholder.
const PLACEHOLDER: u32 = 32;

/// A placeholder is the plan itself, at a few dozen pixels, blurred.
fn placeholder(plan: &Plan) -> Plan {
    if plan.output != Output::Placeholder {
        return plan.clone();
    }
    let asked = |side: Option<u32>| side.unwrap_or(PLACEHOLDER).max(1);
    let (width, height) = (asked(plan.width), asked(plan.height));
    let frame = Size::new(width, height);
    let frame = frame.contained(Size::new(PLACEHOLDER, PLACEHOLDER).within(frame));
    let side = |asked: Option<u32>, side: u32| {
        if plan.width.or(plan.height).is_none() {
            Some(side)
        } else {
            asked.map(|_| side)
        }
    };
    Plan {
        width: side(plan.width, frame.width),
        height: side(plan.height, frame.height),
        blur: Some(10),
        sharpen: None,
        watermark: None,
        quality: Quality::Fixed(60),
        ..plan.clone()
    }
}

fn choose(output: Output, header: &Header, picture: &Picture) -> Format {
    let translucent = matches!(picture, Picture::Packed(raster) if raster.is_translucent());
    format_of(output, header, translucent)
}

/// The format that `output` means for a picture of this source.
fn format_of(output: Output, header: &Header, translucent: bool) -> Format {
    match output {
        Output::Jpeg => Format::Jpeg,
        Output::Webp
        | Output::Auto {
            webp: true,
            avif: false,
        } => Format::Webp,
        Output::WebpLossless => Format::WebpLossless,
        Output::Avif | Output::Auto { avif: true, .. } => Format::Avif,
        Output::Png => Format::Png,
        Output::Original => header.kind.written().unwrap_or(Format::Png),
        Output::Auto { .. } | Output::Placeholder | Output::Info if translucent => Format::Png,
        Output::Auto { .. } | Output::Placeholder | Output::Info => Format::Jpeg,
    }
}

impl Rendition {
    pub(super) fn new(bytes: Vec<u8>, content_type: &'static str, size: Size) -> Self {
        Self {
            bytes,
            content_type,
            width: size.width,
            height: size.height,
        }
    }
}

impl TransformError {
    /// For a metric: one of six words.
    pub fn cause(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too_large",
            Self::Unsupported(_) => "unsupported",
            Self::Svg => "svg",
            Self::Corrupt(_) => "corrupt",
            Self::Encode(_) => "encode",
            Self::Deadline => "deadline",
        }
    }
}

#[cfg(test)]
#[path = "transform_tests.rs"]
mod tests;
