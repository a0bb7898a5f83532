//! What to make of a source, and the name of what comes of it.
//!
//! Made by `ask` of what a request says, and carried out by `transform`. Whatever a client writes, a
//! plan holds bounded numbers, choices of a few, and names that the operator gave; parameters that
//! aren't the image's own never reach it.

pub(crate) const DEFAULT_QUALITY: u8 = 80;

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

impl Plan {
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
    /// What isn't asked for isn't in it.
    pub fn key(&self) -> String {
        let side = |side: Option<u32>| side.map_or("-".to_owned(), |pixels| pixels.to_string());
        let (width, height) = (side(self.width), side(self.height));
        let quality = match self.quality {
            Quality::Fixed(quality) => quality.to_string(),
            Quality::Auto => "auto".to_owned(),
        };
        let mut key = format!("w{width}h{height}q{quality}{}", self.output.label());
        for part in self.extras() {
            key.push(';');
            key.push_str(&part);
        }
        key
    }

    /// What differs from a plain plan, each once and in one order. No name has a `;` in it.
    fn extras(&self) -> Vec<String> {
        let gravity = match self.gravity {
            Gravity::Centre => None,
            Gravity::Auto => Some("gauto".to_owned()),
            Gravity::Point { x, y } => Some(format!("g{x}x{y}")),
        };
        let Turn { mirrored, quarters } = self.turn;
        let mirrored = if mirrored { "m" } else { "" };
        let turn = (self.turn != Turn::default()).then(|| format!("t{mirrored}{quarters}"));
        let parts = [
            (self.fit != Fit::default()).then(|| self.fit.label().to_owned()),
            gravity,
            self.background.map(Colour::hex),
            self.trim.map(|tolerance| format!("trim{tolerance}")),
            turn,
            self.blur.map(|tenths| format!("blur{tenths}")),
            self.sharpen.map(|hundredths| format!("sharp{hundredths}")),
            self.grey.then(|| "grey".to_owned()),
            self.watermark.as_ref().map(|name| format!("wm{name}")),
            (!self.animated).then(|| "still".to_owned()),
            self.copyright.then(|| "copyright".to_owned()),
        ];
        parts.into_iter().flatten().collect()
    }

    /// The plan with nothing in it that changes nothing, so that what looks the same has one key.
    pub(crate) fn reduced(mut self) -> Self {
        if self.output == Output::Info {
            let output = self.output;
            return Self {
                output,
                ..Plan::unchanged()
            };
        }
        let boxed = self.width.is_some() && self.height.is_some();
        if !boxed {
            // With one side there is nothing to cut off, to fill up or to distort.
            self.fit = match self.fit {
                Fit::Contain | Fit::Cover if self.width.or(self.height).is_some() => Fit::Contain,
                Fit::Pad | Fit::Squeeze if self.width.or(self.height).is_some() => Fit::Contain,
                _ => Fit::ScaleDown,
            };
        }
        if !matches!(self.fit, Fit::Cover | Fit::Crop | Fit::Pad) {
            self.gravity = Gravity::Centre;
        }
        if self.fit == Fit::Pad && self.gravity == Gravity::Auto {
            self.gravity = Gravity::Centre;
        }
        if matches!(
            self.output,
            Output::Png | Output::WebpLossless | Output::Placeholder
        ) {
            // These have no quality to choose, so it mustn't tell two plans apart.
            self.quality = Quality::Fixed(100);
        }
        self
    }

    /// The same in WebP, where it is in AVIF only because the client reads both.
    pub fn sooner(&self) -> Option<Self> {
        let Output::Auto { avif: true, webp } = self.output else {
            return None;
        };
        let output = Output::Auto { webp, avif: false };
        Some(Self {
            output,
            ..self.clone()
        })
    }

    /// Whether it differs from `other` in nothing but the box's sides and the quality.
    pub fn is_like(&self, other: &Self) -> bool {
        let same = Self {
            width: self.width,
            height: self.height,
            quality: self.quality,
            ..other.clone()
        };
        *self == same
    }

    pub fn width(&self) -> Option<u32> {
        self.width
    }

    /// Pixels that it asks for at most, if it says.
    pub fn pixels(&self) -> Option<u64> {
        Some(u64::from(self.width?) * u64::from(self.height?))
    }

    pub fn watermark(&self) -> Option<&str> {
        self.watermark.as_deref()
    }

    pub fn output(&self) -> Output {
        self.output
    }
}

impl Output {
    /// For keys and metrics: one of a few words.
    pub fn label(self) -> &'static str {
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

impl Fit {
    pub(crate) const ALL: [Self; 6] = [
        Self::ScaleDown,
        Self::Contain,
        Self::Cover,
        Self::Crop,
        Self::Pad,
        Self::Squeeze,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::ScaleDown => "scale-down",
            Self::Contain => "contain",
            Self::Cover => "cover",
            Self::Crop => "crop",
            Self::Pad => "pad",
            Self::Squeeze => "squeeze",
        }
    }
}

impl Gravity {
    pub const BOTTOM_RIGHT: Self = Self::Point { x: 1000, y: 1000 };
}

impl Colour {
    /// As it is written in a query, `bg` before it.
    fn hex(self) -> String {
        let Self {
            red,
            green,
            blue,
            alpha,
        } = self;
        format!("bg{red:02x}{green:02x}{blue:02x}{alpha:02x}")
    }
}
