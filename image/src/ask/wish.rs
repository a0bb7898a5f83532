//! What somebody wishes of a picture, as far as it was said, and how that becomes a plan.

use super::hints::{Client, Vary};
use super::{AskError, value};
use crate::plan::{Colour, DEFAULT_QUALITY, Fit, Gravity, Output, Plan, Quality, Turn};
use crate::settings::ImageSettings;

/// The longest side that may be asked for.
pub(crate) const MAX_ASKED: u32 = 16_384;

/// Each field is None where nothing was said of it: then the preset counts, and then the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    pub(super) width: Option<Side>,
    pub(super) height: Option<u32>,
    pub(super) density: Option<Density>,
    pub(super) fit: Option<Fit>,
    pub(super) gravity: Option<Gravity>,
    pub(super) background: Option<Colour>,
    /// None within: no trimming, whatever the preset says.
    pub(super) trim: Option<Option<u8>>,
    pub(super) quarters: Option<u8>,
    pub(super) flip: Option<Flip>,
    /// Zero is none.
    pub(super) blur: Option<u16>,
    pub(super) sharpen: Option<u16>,
    pub(super) grey: Option<bool>,
    pub(super) watermark: Option<String>,
    pub(super) quality: Option<Quality>,
    pub(super) format: Option<Format>,
    pub(super) animated: Option<bool>,
    pub(super) copyright: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Pixels(u32),
    /// As the client's hint says.
    Auto,
}

/// Pixels of the screen for one of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Density {
    Hundredths(u16),
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flip {
    Horizontal,
    Vertical,
    Both,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// By `Accept`.
    Auto,
    As(Output),
}

/// What can be said of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Width,
    Height,
    Density,
    Fit,
    Gravity,
    Background,
    Blur,
    Sharpen,
    Trim,
    Rotate,
    Flip,
    Grey,
    Watermark,
    Quality,
    Format,
    Placeholder,
    Info,
    Animated,
    Metadata,
}

impl Field {
    pub fn short(self) -> &'static str {
        self.says().0
    }

    /// What its value must be.
    pub fn rule(self) -> &'static str {
        self.says().1
    }

    fn says(self) -> (&'static str, &'static str) {
        match self {
            Self::Width => ("w", "a whole number from 1 to 16384, or auto"),
            Self::Height => ("h", "a whole number from 1 to 16384"),
            Self::Density => ("dpr", "a number from 0.1 to 8, or auto"),
            Self::Fit => (
                "fit",
                "one of scale-down, contain, cover, crop, pad, squeeze",
            ),
            Self::Gravity => (
                "g",
                "one of auto, center, top, bottom, left, right, top-left and the like, or a point as 0.5x0.3",
            ),
            Self::Background => (
                "bg",
                "a colour as ffffff, ffffff80, white, black or transparent",
            ),
            Self::Blur => ("blur", "a number from 0 to 250"),
            Self::Sharpen => ("sharpen", "a number from 0 to 10"),
            Self::Trim => ("trim", "true, false, or a tolerance from 0 to 255"),
            Self::Rotate => ("rotate", "one of 0, 90, 180, 270"),
            Self::Flip => ("flip", "one of h, v, hv"),
            Self::Grey => ("grey", "true or false"),
            Self::Watermark => ("wm", "a watermark's name"),
            Self::Quality => ("q", "a whole number from 1 to 100, or auto"),
            Self::Format => (
                "f",
                "one of auto, jpeg, webp, webp-lossless, png, avif, original",
            ),
            Self::Placeholder => ("placeholder", "blur"),
            Self::Info => ("info", "true"),
            Self::Animated => ("anim", "true or false"),
            Self::Metadata => ("metadata", "one of none, copyright"),
        }
    }
}

impl Wish {
    /// A box that doesn't bind the height.
    pub fn sized(width: u32, quality: u8) -> Self {
        Self {
            width: Some(Side::Pixels(width)),
            quality: Some(Quality::Fixed(quality)),
            ..Self::default()
        }
    }

    pub fn watermark(&self) -> Option<&str> {
        self.watermark.as_deref()
    }

    pub fn is_avif(&self) -> bool {
        self.format == Some(Format::As(Output::Avif))
    }

    /// Adds what a parameter says. What was said before must have been the same.
    pub fn say(&mut self, field: Field, text: &str) -> Result<(), AskError> {
        fn once<T: PartialEq>(
            slot: &mut Option<T>,
            field: Field,
            value: Option<T>,
        ) -> Result<(), AskError> {
            let value = value.ok_or(AskError::Value(field))?;
            match slot {
                Some(earlier) if *earlier != value => Err(AskError::Twice(field)),
                _ => {
                    *slot = Some(value);
                    Ok(())
                }
            }
        }
        match field {
            Field::Width => once(&mut self.width, field, value::width(text)),
            Field::Height => once(&mut self.height, field, value::side(text)),
            Field::Density => once(&mut self.density, field, value::density(text)),
            Field::Fit => once(&mut self.fit, field, value::fit(text)),
            Field::Gravity => once(&mut self.gravity, field, value::gravity(text)),
            Field::Background => once(&mut self.background, field, value::colour(text)),
            Field::Blur => once(&mut self.blur, field, value::tenths(text, 250)),
            Field::Sharpen => once(&mut self.sharpen, field, value::hundredths(text, 10)),
            Field::Trim => once(&mut self.trim, field, value::trim(text)),
            Field::Rotate => once(&mut self.quarters, field, value::quarters(text)),
            Field::Flip => once(&mut self.flip, field, value::flip(text)),
            Field::Grey => once(&mut self.grey, field, value::switch(text)),
            Field::Watermark => once(&mut self.watermark, field, Some(text.to_owned())),
            Field::Quality => once(&mut self.quality, field, value::quality(text)),
            Field::Format => once(&mut self.format, field, value::format(text)),
            Field::Placeholder => once(&mut self.format, field, value::placeholder(text)),
            Field::Info => once(&mut self.format, field, value::info(text)),
            Field::Animated => once(&mut self.animated, field, value::switch(text)),
            Field::Metadata => once(&mut self.copyright, field, value::copyright(text)),
        }
    }

    /// What isn't said here is as `other` says.
    pub(super) fn over(self, other: Self) -> Self {
        Self {
            width: self.width.or(other.width),
            height: self.height.or(other.height),
            density: self.density.or(other.density),
            fit: self.fit.or(other.fit),
            gravity: self.gravity.or(other.gravity),
            background: self.background.or(other.background),
            trim: self.trim.or(other.trim),
            quarters: self.quarters.or(other.quarters),
            flip: self.flip.or(other.flip),
            blur: self.blur.or(other.blur),
            sharpen: self.sharpen.or(other.sharpen),
            grey: self.grey.or(other.grey),
            watermark: self.watermark.or(other.watermark),
            quality: self.quality.or(other.quality),
            format: self.format.or(other.format),
            animated: self.animated.or(other.animated),
            copyright: self.copyright.or(other.copyright),
        }
    }

    /// The plan, and by which of the client's fields it was made.
    pub(super) fn plan(
        self,
        client: &Client<'_>,
        settings: &ImageSettings,
    ) -> Result<(Plan, Vary), AskError> {
        let mut vary = Vary::default();
        let (width, height) = self.sides(client, &settings.steps, &mut vary);
        if let Some(name) = &self.watermark
            && !settings.watermarks.contains_key(name)
        {
            return Err(no_watermark(settings));
        }
        let output = match self.format.unwrap_or(Format::Auto) {
            Format::Auto => client.output(settings.avif, &mut vary),
            Format::As(Output::Avif) if !settings.avif => {
                return Err(AskError::Value(Field::Format));
            }
            Format::As(output) => output,
        };
        let none_if_zero = |number: Option<u16>| number.filter(|number| *number > 0);
        let plan = Plan {
            width,
            height,
            fit: self.fit.unwrap_or_default(),
            gravity: self.gravity.unwrap_or_default(),
            background: self.background,
            trim: self.trim.flatten(),
            turn: turn(self.quarters.unwrap_or(0), self.flip),
            blur: none_if_zero(self.blur),
            sharpen: none_if_zero(self.sharpen),
            grey: self.grey.unwrap_or(false),
            watermark: self.watermark,
            quality: self.quality.unwrap_or(Quality::Fixed(DEFAULT_QUALITY)),
            output,
            animated: self.animated.unwrap_or(true),
            copyright: self.copyright.unwrap_or(false),
        }
        .reduced();
        let enlarges = !matches!(plan.fit, Fit::ScaleDown | Fit::Crop);
        if enlarges && plan.pixels().is_some_and(|n| n > settings.max_pixels) {
            return Err(AskError::TooLarge(settings.max_pixels));
        }
        Ok((plan, vary))
    }

    /// In the rendition's own pixels, each a step where there are steps.
    fn sides(
        &self,
        client: &Client<'_>,
        steps: &[u32],
        vary: &mut Vary,
    ) -> (Option<u32>, Option<u32>) {
        let density = match self.density {
            Some(Density::Hundredths(hundredths)) => hundredths,
            // A width by hint is in pixels of the screen already.
            Some(Density::Auto)
                if self.height.is_some() || matches!(self.width, Some(Side::Pixels(_))) =>
            {
                client.density(vary)
            }
            _ => 100,
        };
        let dense = |side: u32| {
            let side = (u64::from(side) * u64::from(density)).div_ceil(100);
            u32::try_from(side).unwrap_or(MAX_ASKED).min(MAX_ASKED)
        };
        let width = match self.width {
            None => None,
            Some(Side::Pixels(pixels)) => Some(dense(pixels)),
            Some(Side::Auto) => client.width(vary),
        };
        let snap = |side: Option<u32>| side.map(|side| snap(side, steps));
        (snap(width), snap(self.height.map(dense)))
    }
}

/// The next larger step, or the largest.
fn snap(side: u32, steps: &[u32]) -> u32 {
    let at = steps.partition_point(|step| *step < side);
    steps.get(at).or(steps.last()).copied().unwrap_or(side)
}

/// Upside down is left and right swapped, and half a turn.
fn turn(quarters: u8, flip: Option<Flip>) -> Turn {
    let (mirrored, half) = match flip {
        None => (false, 0),
        Some(Flip::Horizontal) => (true, 0),
        Some(Flip::Vertical) => (true, 2),
        Some(Flip::Both) => (false, 2),
    };
    Turn {
        mirrored,
        quarters: (quarters + half) % 4,
    }
}

fn no_watermark(settings: &ImageSettings) -> AskError {
    let names: Vec<&str> = settings.watermarks.keys().map(String::as_str).collect();
    AskError::Watermark(match names.is_empty() {
        true => "there are no watermarks here".to_owned(),
        false => format!("wm must be one of: {}", names.join(", ")),
    })
}
