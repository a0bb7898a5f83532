//! What to make of a source: a request's query and `Accept` become a plan, or a reason why not.
//!
//! Called once for every request on a route that serves images. Pure. Whatever a client writes,
//! the plan's key holds two bounded numbers, a quality and one of six outputs; parameters that
//! aren't the image's own never reach it.

use super::settings::{ImageSettings, Preset};

/// The longest side a request may ask for.
const MAX_ASKED: u32 = 16_384;

const DEFAULT_QUALITY: u8 = 80;

/// A checked transformation. Equal plans of equal sources give equal renditions.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Of the rendition, in its own pixels: a density that was asked for is multiplied in.
    pub(crate) width: Option<u32>,
    pub(crate) height: Option<u32>,
    pub(crate) fit: Fit,
    /// Which part stays where some is cut away, and where a padded picture lies.
    pub(crate) gravity: Gravity,
    /// Behind what lets its background through, and around what is padded. Without one, formats
    /// that hold transparency keep it and the others get white.
    pub(crate) background: Option<Colour>,
    /// Edges of one colour are cut off first, with this much tolerance in each channel.
    pub(crate) trim: Option<u8>,
    /// After the source's own orientation, before the fit.
    pub(crate) turn: Turn,
    /// Standard deviation of a Gaussian in tenths of a pixel of the rendition.
    pub(crate) blur: Option<u16>,
    /// Strength of an unsharp mask in hundredths; 100 doubles the detail.
    pub(crate) sharpen: Option<u16>,
    pub(crate) grey: bool,
    /// The name of one of the edge's own overlays.
    pub(crate) watermark: Option<String>,
    pub(crate) quality: Quality,
    pub(crate) output: Output,
    /// Of an animated source: all frames where the output holds them, else the first.
    pub(crate) animated: bool,
    /// Whether the copyright and artist fields survive; all other metadata is dropped.
    pub(crate) copyright: bool,
}

/// How a picture meets its box. A side that isn't given follows from the other by the proportions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fit {
    /// Inside the box, never enlarged.
    #[default]
    ScaleDown,
    /// Inside the box, enlarged if need be.
    Contain,
    /// Fills the box, what stands out is cut away; enlarged if need be.
    Cover,
    /// As `Cover`, never enlarged: a smaller source is cut to the box's proportions.
    Crop,
    /// As `Contain`, then filled up to the box with the background.
    Pad,
    /// To the box, whatever becomes of the proportions.
    Squeeze,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Gravity {
    /// A point of the picture, each way in thousandths from the left and the top.
    Point { x: u16, y: u16 },
    #[default]
    Centre,
    /// Where the detail is.
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Colour {
    pub red: u8,
    pub green: u8,
    pub blue: u8,
    /// 255 hides what is behind.
    pub alpha: u8,
}

/// Mirrored first, then turned clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Turn {
    /// Left and right change places.
    pub mirrored: bool,
    /// Quarters of a full turn, 0 to 3.
    pub quarters: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quality {
    /// 1 to 100.
    Fixed(u8),
    /// The fewest bytes that still look the same.
    Auto,
}

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Output {
    /// The best the client reads: AVIF or WebP where it says so; else JPEG, or PNG for a picture
    /// that lets its background through.
    Auto {
        webp: bool,
        avif: bool,
    },
    Jpeg,
    Webp,
    WebpLossless,
    Png,
    Avif,
    /// The source's own; PNG for a source in a format that isn't written here (BMP, TIFF).
    Original,
    /// A few dozen pixels, blurred, in a format that every client reads: to show while the
    /// picture itself is on its way.
    Placeholder,
    /// JSON: what the source is.
    Info,
}

/// Why a query isn't a plan, in words for whoever wrote the query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    #[error("{0} must be a whole number from 1 to {MAX_ASKED}")]
    Side(&'static str),
    #[error("q must be a whole number from 1 to 100")]
    Quality,
    #[error("f must be one of auto, jpeg, webp, png, original")]
    Format,
    #[error("preset must be one of: {0}")]
    Preset(String),
    #[error("{0} is given twice with different values; give it once")]
    Twice(&'static str),
}

impl Plan {
    /// The plan that `query` asks for, `None` when it holds no image parameter.
    ///
    /// `accept` is the request's field, several lines joined by commas.
    pub fn from_request(
        query: Option<&str>,
        accept: Option<&str>,
        settings: &ImageSettings,
    ) -> Result<Option<Self>, PlanError> {
        let asked = Asked::read(query.unwrap_or_default())?;
        if asked == Asked::default() {
            return Ok(None);
        }
        let preset = asked
            .preset
            .map(|name| find_preset(name, settings))
            .transpose()?;
        asked.plan(preset, accept).map(Some)
    }

    /// The source in the best format its reader knows, otherwise as it is.
    pub fn unchanged() -> Self {
        Self {
            width: None,
            height: None,
            fit: Fit::default(),
            gravity: Gravity::default(),
            background: None,
            trim: None,
            turn: Turn::default(),
            blur: None,
            sharpen: None,
            grey: false,
            watermark: None,
            quality: Quality::Fixed(DEFAULT_QUALITY),
            output: Output::Auto {
                webp: false,
                avif: false,
            },
            animated: true,
            copyright: false,
        }
    }

    /// Canonical: equal for equal plans however they were asked for, different for different ones.
    pub fn key(&self) -> String {
        let side = |side: Option<u32>| side.map_or("-".to_owned(), |pixels| pixels.to_string());
        let (width, height) = (side(self.width), side(self.height));
        let quality = match self.quality {
            Quality::Fixed(quality) => quality.to_string(),
            Quality::Auto => "auto".to_owned(),
        };
        format!("w{width}h{height}q{quality}{}", self.output.label())
    }

    /// Whether another `Accept` could have led to another plan.
    pub fn varies_on_accept(&self) -> bool {
        matches!(self.output, Output::Auto { .. })
    }

    /// `query` without what asks for a rendition: the source's own query.
    pub fn without_parameters(query: &str) -> String {
        let own = |pair: &&str| {
            let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
            !PARAMETERS.contains(&name)
        };
        query.split('&').filter(own).collect::<Vec<_>>().join("&")
    }
}

impl Output {
    fn label(self) -> &'static str {
        match self {
            Self::Auto { avif: true, .. } => "auto-avif",
            Self::Auto { webp: true, .. } => "auto-webp",
            Self::Auto { .. } => "auto",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
            Self::Png => "png",
            Self::Original => "original",
            Self::WebpLossless => "webp-lossless",
            Self::Avif => "avif",
            Self::Placeholder => "placeholder",
            Self::Info => "info",
        }
    }
}

/// The names that `Asked::read` knows.
const PARAMETERS: [&str; 9] = [
    "preset", "w", "width", "h", "height", "q", "quality", "f", "format",
];

/// The image parameters of a query, as written.
#[derive(Default, PartialEq)]
struct Asked<'q> {
    preset: Option<&'q str>,
    width: Option<&'q str>,
    height: Option<&'q str>,
    quality: Option<&'q str>,
    format: Option<&'q str>,
}

impl<'q> Asked<'q> {
    fn read(query: &'q str) -> Result<Self, PlanError> {
        let mut asked = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (slot, short) = match name {
                "preset" => (&mut asked.preset, "preset"),
                "w" | "width" => (&mut asked.width, "w"),
                "h" | "height" => (&mut asked.height, "h"),
                "q" | "quality" => (&mut asked.quality, "q"),
                "f" | "format" => (&mut asked.format, "f"),
                _ => continue,
            };
            if slot.is_some_and(|earlier| earlier != value) {
                return Err(PlanError::Twice(short));
            }
            *slot = Some(value);
        }
        Ok(asked)
    }

    /// What is written out wins over the preset, the preset over the defaults.
    fn plan(&self, preset: Option<&Preset>, accept: Option<&str>) -> Result<Plan, PlanError> {
        let width = self.width.map(|value| parse_side("w", value)).transpose()?;
        let height = self
            .height
            .map(|value| parse_side("h", value))
            .transpose()?;
        let quality = self.quality.map(parse_quality).transpose()?;
        let output = parse_output(self.format, accept)?;
        let quality = quality
            .or(preset.map(|preset| preset.quality))
            .unwrap_or(DEFAULT_QUALITY);
        Ok(Plan {
            width: width.or(preset.and_then(|preset| preset.width)),
            height: height.or(preset.and_then(|preset| preset.height)),
            // PNG has no quality, so it mustn't tell two plans apart.
            quality: Quality::Fixed(if output == Output::Png { 100 } else { quality }),
            output,
            ..Plan::unchanged()
        })
    }
}

fn find_preset<'s>(name: &str, settings: &'s ImageSettings) -> Result<&'s Preset, PlanError> {
    settings.presets.get(name).ok_or_else(|| {
        let names: Vec<&str> = settings.presets.keys().map(String::as_str).collect();
        PlanError::Preset(names.join(", "))
    })
}

fn parse_side(name: &'static str, value: &str) -> Result<u32, PlanError> {
    parse_number(value, MAX_ASKED).ok_or(PlanError::Side(name))
}

fn parse_quality(value: &str) -> Result<u8, PlanError> {
    let quality = parse_number(value, 100).ok_or(PlanError::Quality)?;
    u8::try_from(quality).map_err(|_| PlanError::Quality)
}

/// Digits only: `str::parse` would let a sign through.
fn parse_number(value: &str, max: u32) -> Option<u32> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = digits.then(|| value.parse().ok()).flatten()?;
    (1..=max).contains(&number).then_some(number)
}

fn parse_output(format: Option<&str>, accept: Option<&str>) -> Result<Output, PlanError> {
    match format.unwrap_or("auto") {
        "auto" => Ok(Output::Auto {
            webp: accept.is_some_and(names_webp),
            avif: false,
        }),
        "jpeg" | "jpg" => Ok(Output::Jpeg),
        "webp" => Ok(Output::Webp),
        "png" => Ok(Output::Png),
        "original" | "keep" => Ok(Output::Original),
        _ => Err(PlanError::Format),
    }
}

/// Whether `Accept` names WebP itself with a weight above zero (RFC 9110 §12.5.1). A wildcard
/// says nothing about it: clients that can't read WebP send `*/*` as well.
fn names_webp(accept: &str) -> bool {
    accept.split(',').any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let is_webp = parts
            .next()
            .is_some_and(|media| media.eq_ignore_ascii_case("image/webp"));
        is_webp && !parts.any(is_zero_weight)
    })
}

fn is_zero_weight(parameter: &str) -> bool {
    parameter.split_once('=').is_some_and(|(name, weight)| {
        name.trim().eq_ignore_ascii_case("q")
            && weight
                .trim()
                .parse::<f32>()
                .is_ok_and(|weight| weight <= 0.0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn plan(query: &str, accept: Option<&str>) -> Result<Option<Plan>, PlanError> {
        Plan::from_request(Some(query), accept, &ImageSettings::default())
    }

    fn key(query: &str) -> String {
        let plan = plan(query, None).expect("a good query").expect("a plan");
        plan.key()
    }

    #[test]
    fn a_query_without_image_parameters_is_no_plan() {
        for query in ["", "v=3", "utm_source=x&page=2", "W=3", "&&", "=", "ww=3"] {
            assert_eq!(plan(query, Some("image/webp")), Ok(None), "{query}");
        }
        assert_eq!(
            Plan::from_request(None, None, &ImageSettings::default()),
            Ok(None)
        );
    }

    #[test]
    fn keys() {
        let cases = [
            ("w=800", "w800h-q80auto"),
            ("w=800&f=webp", "w800h-q80webp"),
            ("width=800&format=webp&v=9", "w800h-q80webp"),
            ("f=webp&quality=80&w=0800", "w800h-q80webp"),
            ("w=800&width=800&f=webp", "w800h-q80webp"),
            ("h=20&f=jpg", "w-h20q80jpeg"),
            ("preset=medium", "w800h-q80auto"),
            ("preset=thumbnail&q=40", "w200h-q40auto"),
            ("preset=original&w=100&h=50&f=keep", "w100h50q85original"),
            ("q=55", "w-h-q55auto"),
            ("f=original", "w-h-q80original"),
            ("f=png&q=3", "w-h-q100png"),
            ("w=16384&h=1&q=100&f=jpeg", "w16384h1q100jpeg"),
        ];
        for (query, expected) in cases {
            assert_eq!(key(query), expected, "{query}");
        }
    }

    #[test]
    fn bad_values_say_what_to_write() {
        let cases = [
            ("w=0", "w must be a whole number from 1 to 16384"),
            ("w=abc", "w must be a whole number from 1 to 16384"),
            ("w=", "w must be a whole number from 1 to 16384"),
            ("w", "w must be a whole number from 1 to 16384"),
            ("w=+5", "w must be a whole number from 1 to 16384"),
            ("w=1.5", "w must be a whole number from 1 to 16384"),
            ("w=16385", "w must be a whole number from 1 to 16384"),
            (
                "height=99999999999",
                "h must be a whole number from 1 to 16384",
            ),
            ("q=0", "q must be a whole number from 1 to 100"),
            ("quality=101", "q must be a whole number from 1 to 100"),
            ("f=avif", "f must be one of auto, jpeg, webp, png, original"),
            (
                "preset=huge",
                "preset must be one of: medium, original, thumbnail",
            ),
            (
                "w=1&width=2",
                "w is given twice with different values; give it once",
            ),
            (
                "f=png&f=webp",
                "f is given twice with different values; give it once",
            ),
        ];
        for (query, expected) in cases {
            let error = plan(query, None).expect_err(query);
            assert_eq!(error.to_string(), expected, "{query}");
        }
    }

    #[test]
    fn webp_only_where_accept_names_it() {
        let cases = [
            ("image/avif,image/webp,image/apng,*/*;q=0.8", true),
            ("IMAGE/WebP ; q=0.1", true),
            ("image/webp;q=1.000", true),
            ("image/webp;q=0", false),
            ("image/webp; Q=0.000, */*", false),
            ("image/*", false),
            ("*/*", false),
            ("image/webpx", false),
            ("", false),
        ];
        for (accept, expected) in cases {
            let plan = plan("w=9", Some(accept)).expect("good").expect("a plan");
            assert_eq!(
                plan.output,
                Output::Auto {
                    webp: expected,
                    avif: false
                },
                "{accept}"
            );
        }
    }

    #[test]
    fn only_auto_varies_on_accept() {
        let cases = [
            ("w=1", true),
            ("w=1&f=auto", true),
            ("preset=medium", true),
            ("w=1&f=jpeg", false),
            ("w=1&f=webp", false),
            ("w=1&f=png", false),
            ("w=1&f=original", false),
        ];
        for (query, expected) in cases {
            let plan = plan(query, Some("image/webp"))
                .expect("good")
                .expect("a plan");
            assert_eq!(plan.varies_on_accept(), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn any_query_is_answered(query in "([a-z]{0,7}=?[a-z0-9+%]{0,6}&?){0,6}", accept in ".{0,30}") {
            let _ = plan(&query, Some(&accept));
        }

        #[test]
        fn keys_are_equal_exactly_for_equal_plans(
            one in image_query(), other in image_query(), webp in any::<bool>(),
        ) {
            let accept = webp.then_some("image/webp");
            let one = plan(&one, accept).expect("good").expect("a plan");
            let other = plan(&other, None).expect("good").expect("a plan");
            prop_assert_eq!(one == other, one.key() == other.key());
        }
    }

    prop_compose! {
        fn image_query()(
            width in 1..3u32, quality in 79..82u8, long in any::<bool>(),
            format in prop::sample::select(vec!["auto", "webp", "png", "jpeg", "jpg", "keep"]),
        ) -> String {
            let names = if long { ("width", "quality", "format") } else { ("w", "q", "f") };
            format!("{}={width}&x={long}&{}={quality}&{}={format}", names.0, names.1, names.2)
        }
    }
}
