//! Values as clients write them. None: it is not one.

use super::wish::{Density, Flip, Format, MAX_ASKED, Side};
use crate::plan::{Colour, Fit, Gravity, Output, Quality};

/// Channels may differ by this much from the edge's colour, where a client doesn't say.
const TRIM: u8 = 10;

pub fn width(text: &str) -> Option<Side> {
    match text {
        "auto" => Some(Side::Auto),
        _ => side(text).map(Side::Pixels),
    }
}

pub fn side(text: &str) -> Option<u32> {
    whole(text).filter(|side| (1..=MAX_ASKED).contains(side))
}

pub fn density(text: &str) -> Option<Density> {
    if text == "auto" {
        return Some(Density::Auto);
    }
    let hundredths = hundredths(text, 8)?;
    (hundredths >= 10).then_some(Density::Hundredths(hundredths))
}

pub fn fit(text: &str) -> Option<Fit> {
    Fit::ALL.into_iter().find(|fit| fit.label() == text)
}

pub fn gravity(text: &str) -> Option<Gravity> {
    match text {
        "auto" => Some(Gravity::Auto),
        "center" | "centre" => Some(Gravity::Centre),
        _ => side_point(text).or_else(|| point(text.split_once('x')?)),
    }
}

impl Gravity {
    /// As a query has it.
    pub fn read(text: &str) -> Option<Self> {
        gravity(text)
    }
}

/// `top-left`; what isn't named is in the middle.
fn side_point(text: &str) -> Option<Gravity> {
    let (mut x, mut y) = (None, None);
    for word in text.split('-') {
        let (axis, value) = match word {
            "left" => (&mut x, 0),
            "right" => (&mut x, 1000),
            "top" => (&mut y, 0),
            "bottom" => (&mut y, 1000),
            _ => return None,
        };
        if axis.replace(value).is_some() {
            return None;
        }
    }
    Some(at(x.unwrap_or(500), y.unwrap_or(500)))
}

/// Shares of the width and the height, 0 to 1.
pub fn point((x, y): (&str, &str)) -> Option<Gravity> {
    Some(at(thousandths(x)?, thousandths(y)?))
}

/// The middle has one name.
fn at(x: u16, y: u16) -> Gravity {
    match (x, y) {
        (500, 500) => Gravity::Centre,
        _ => Gravity::Point { x, y },
    }
}

fn thousandths(text: &str) -> Option<u16> {
    u16::try_from(decimal(text, 3)?).ok().filter(|n| *n <= 1000)
}

pub fn colour(text: &str) -> Option<Colour> {
    let text = text.to_ascii_lowercase();
    let opaque = |red, green, blue| Colour {
        red,
        green,
        blue,
        alpha: 255,
    };
    match &*text {
        "white" => return Some(opaque(255, 255, 255)),
        "black" => return Some(opaque(0, 0, 0)),
        "transparent" => {
            let alpha = 0;
            return Some(Colour {
                alpha,
                ..opaque(0, 0, 0)
            });
        }
        _ => {}
    }
    if let Some(channels) = text.strip_prefix("rgb(").and_then(|t| t.strip_suffix(')')) {
        return rgb(channels.split([',', ' ']).filter(|part| !part.is_empty()));
    }
    hex_colour(text.strip_prefix('#').unwrap_or(&text))
}

/// Three channels, 0 to 255 each.
pub fn rgb<'t>(channels: impl Iterator<Item = &'t str>) -> Option<Colour> {
    let channels: Option<Vec<u8>> = channels.map(byte).collect();
    let [red, green, blue] = channels?[..] else {
        return None;
    };
    Some(Colour {
        red,
        green,
        blue,
        alpha: 255,
    })
}

/// 3, 4, 6 or 8 digits, as in CSS.
pub fn hex_colour(digits: &str) -> Option<Colour> {
    let nibbles: Option<Vec<u8>> = digits
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|n| u8::try_from(n).ok()))
        .collect();
    let nibbles = nibbles?;
    let channels: Vec<u8> = match nibbles.len() {
        3 | 4 => nibbles.iter().map(|n| n * 17).collect(),
        6 | 8 => nibbles
            .chunks(2)
            .map(|pair| pair[0] * 16 + pair[1])
            .collect(),
        _ => return None,
    };
    Some(Colour {
        red: channels[0],
        green: channels[1],
        blue: channels[2],
        alpha: channels.get(3).copied().unwrap_or(255),
    })
}

pub fn byte(text: &str) -> Option<u8> {
    u8::try_from(whole(text)?).ok()
}

pub fn trim(text: &str) -> Option<Option<u8>> {
    match text {
        "" | "true" | "border" => Some(Some(TRIM)),
        "false" => Some(None),
        _ => byte(text).map(Some),
    }
}

pub fn quarters(text: &str) -> Option<u8> {
    match text {
        "0" | "360" => Some(0),
        "90" => Some(1),
        "180" => Some(2),
        "270" => Some(3),
        _ => None,
    }
}

pub fn flip(text: &str) -> Option<Flip> {
    match text {
        "h" => Some(Flip::Horizontal),
        "v" => Some(Flip::Vertical),
        "hv" | "vh" => Some(Flip::Both),
        _ => None,
    }
}

/// Named without a value, it is wanted.
pub fn switch(text: &str) -> Option<bool> {
    match text {
        "" | "true" | "1" | "t" => Some(true),
        "false" | "0" | "f" => Some(false),
        _ => None,
    }
}

pub fn quality(text: &str) -> Option<Quality> {
    if text == "auto" {
        return Some(Quality::Auto);
    }
    let quality = byte(text)?;
    (1..=100)
        .contains(&quality)
        .then_some(Quality::Fixed(quality))
}

pub fn format(text: &str) -> Option<Format> {
    Some(Format::As(match text {
        "auto" => return Some(Format::Auto),
        "jpeg" | "jpg" => Output::Jpeg,
        "webp" => Output::Webp,
        "webp-lossless" => Output::WebpLossless,
        "png" => Output::Png,
        "avif" => Output::Avif,
        "original" | "keep" => Output::Original,
        _ => return None,
    }))
}

pub fn placeholder(text: &str) -> Option<Format> {
    matches!(text, "" | "blur" | "true" | "1").then_some(Format::As(Output::Placeholder))
}

pub fn info(text: &str) -> Option<Format> {
    matches!(text, "" | "true" | "1").then_some(Format::As(Output::Info))
}

pub fn copyright(text: &str) -> Option<bool> {
    match text {
        "copyright" => Some(true),
        "none" => Some(false),
        _ => None,
    }
}

pub fn tenths(text: &str, most: u32) -> Option<u16> {
    let tenths = decimal(text, 1)?;
    u16::try_from(tenths).ok().filter(|_| tenths <= most * 10)
}

pub fn hundredths(text: &str, most: u32) -> Option<u16> {
    let hundredths = decimal(text, 2)?;
    u16::try_from(hundredths)
        .ok()
        .filter(|_| hundredths <= most * 100)
}

/// Digits only: `str::parse` would let a sign through.
pub fn whole(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// `1.25` with so many places; those beyond are cut off.
fn decimal(text: &str, places: usize) -> Option<u32> {
    let (before, after) = text.split_once('.').unwrap_or((text, ""));
    let is_number = !(before.is_empty() && after.is_empty())
        && before.len() <= 5
        && after.bytes().all(|byte| byte.is_ascii_digit());
    let before = if before.is_empty() { "0" } else { before };
    let scale = 10_u32.pow(u32::try_from(places).ok()?);
    let digits = after.bytes().chain(std::iter::repeat(b'0')).take(places);
    let after = digits.fold(0, |sum, digit| {
        sum * 10 + u32::from(digit.wrapping_sub(b'0'))
    });
    is_number
        .then(|| whole(before))
        .flatten()?
        .checked_mul(scale)?
        .checked_add(after)
}
