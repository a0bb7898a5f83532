//! `/SIGNATURE/rs:fill:300:400/g:sm/plain/https://host/photos/1.jpg@webp`, as imgproxy has it: the
//! options of <https://docs.imgproxy.net/usage/processing>, long names and short. A source may be in
//! base64url instead, `.webp` behind it, and slashes anywhere in it.

mod meaning;

use super::sign::Proof;
use super::text::{decoded, decoded_whole};
use super::wish::{Density, Format, Side, Wish};
use super::{AskError, Field, Request, Source, Written, value};
use crate::plan::{Fit, Gravity, Output, Quality};
use crate::settings::{ImageSettings, Unknown};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meaning::{Meaning, is_option};
use std::borrow::Cow;

/// Named so, the one watermark that imgproxy has.
const WATERMARK: &str = "default";

/// What options of one URL say together.
#[derive(Default)]
struct Options {
    wish: Wish,
    kind: Kind,
    enlarge: bool,
    extend: bool,
    /// Of the background, wherever that is said.
    alpha: Option<u8>,
    expires: Option<u64>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Kind {
    #[default]
    Fit,
    Fill,
    FillDown,
    Force,
}

pub(super) fn read<'r>(
    request: &Request<'r>,
    settings: &ImageSettings,
) -> Option<Result<Written<'r>, AskError>> {
    let rest = request.path.strip_prefix('/')?;
    let at = rest.find('/')?;
    let (signature, signed) = rest.split_at(at);
    let first = signed[1..].split('/').next()?;
    // An application's own paths begin otherwise.
    let is_ours = first == "plain" || is_written_as_option(&decoded(first));
    is_ours.then(|| written(request, signature, signed, settings))
}

fn is_written_as_option(part: &str) -> bool {
    part.split_once(':')
        .is_some_and(|(name, _)| is_option(name))
}

fn written<'r>(
    request: &Request<'r>,
    signature: &'r str,
    signed: &'r str,
    settings: &ImageSettings,
) -> Result<Written<'r>, AskError> {
    let mut written = Written::default();
    let mut options = Options::default();
    let mut rest = &signed[1..];
    while let Some((part, after)) = rest.split_once('/') {
        let part = decoded(part);
        if !is_written_as_option(&part) {
            break;
        }
        let mut words = part.split(':');
        let name = words.next().unwrap_or_default();
        let words: Vec<&str> = words.collect();
        let meant = match name {
            "preset" | "pr" => {
                written.presets.extend(words.into_iter().map(str::to_owned));
                true
            }
            _ => options.read(name, &words)?,
        };
        if !meant && settings.unknown == Unknown::Refuse {
            return Err(AskError::Unknown(format!("`{part}`")));
        }
        rest = after;
    }
    let (source, extension) = source(rest)?;
    written.source = Source::read(&source, request.host)?;
    if let Some(extension) = extension {
        options.format(extension)?;
    }
    written.proof = Proof {
        message: Cow::Borrowed(signed),
        signature: (!matches!(signature, "unsafe" | "insecure" | "_"))
            .then_some(Cow::Borrowed(signature)),
        expires: options.expires,
    };
    written.wish = options.wish(&written.presets);
    Ok(written)
}

/// The source and the extension behind it.
fn source(text: &str) -> Result<(String, Option<&str>), AskError> {
    const UNREADABLE: AskError = AskError::Source("the source can't be read");
    if let Some(plain) = text.strip_prefix("plain/") {
        let (source, extension) = match plain.rsplit_once('@') {
            Some((source, extension)) => (source, Some(extension)),
            None => (plain, None),
        };
        let source = decoded_whole(source).map_err(|_| UNREADABLE)?.into_owned();
        return Ok((source, extension.filter(|extension| !extension.is_empty())));
    }
    let (encoded, extension) = match text.split_once('.') {
        Some((encoded, extension)) => (encoded, Some(extension)),
        None => (text, None),
    };
    let encoded: String = encoded.chars().filter(|c| *c != '/').collect();
    let bytes = URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('='));
    let source = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
    Ok((source.ok_or(UNREADABLE)?, extension))
}

impl Options {
    /// Later ones count. False: it means nothing here.
    fn read(&mut self, name: &str, words: &[&str]) -> Result<bool, AskError> {
        let Some(meaning) = Meaning::of(name) else {
            return Ok(false);
        };
        let word = |at: usize| words.get(at).copied().filter(|word| !word.is_empty());
        match meaning {
            Meaning::Resize => {
                let known = word(0).is_none_or(|word| self.kind(word));
                return self
                    .size(&words[1.min(words.len())..])
                    .map(|meant| meant && known);
            }
            Meaning::Size => return self.size(words),
            Meaning::Kind => return Ok(self.kind(word(0).unwrap_or_default())),
            Meaning::Width => self.width(word(0))?,
            Meaning::Height => self.height(word(0))?,
            Meaning::Density => self.wish.density = Some(density(word(0))?),
            Meaning::Enlarge => self.enlarge = is_true(word(0)),
            Meaning::Extend => self.extend = is_true(word(0)),
            Meaning::Gravity => return self.gravity(words),
            Meaning::Trim => self.wish.trim = Some(Some(tolerance(word(0))?)),
            Meaning::Rotate => {
                self.wish.quarters = Some(needed(value::quarters, word(0), Field::Rotate)?)
            }
            Meaning::Background => self.background(words)?,
            Meaning::BackgroundAlpha => self.alpha(word(0))?,
            Meaning::Blur => {
                self.wish.blur = Some(needed(|t| value::tenths(t, 250), word(0), Field::Blur)?)
            }
            Meaning::Sharpen => {
                self.wish.sharpen = Some(needed(
                    |t| value::hundredths(t, 10),
                    word(0),
                    Field::Sharpen,
                )?);
            }
            Meaning::Grey => {
                self.wish.grey = Some(word(0).is_some_and(|w| value::hundredths(w, 1) != Some(0)))
            }
            Meaning::Watermark => self.wish.watermark = Some(WATERMARK.to_owned()),
            Meaning::Copyright => self.wish.copyright = Some(is_true(word(0))),
            Meaning::Quality => self.quality(word(0))?,
            Meaning::Format => self.format(word(0).unwrap_or_default())?,
            Meaning::Still => self.wish.animated = Some(!is_true(word(0))),
            Meaning::Expires => {
                let time = word(0).and_then(value::whole).ok_or(AskError::Expired)?;
                self.expires = Some(time.into());
            }
            Meaning::Nothing => {}
        }
        Ok(true)
    }

    fn kind(&mut self, word: &str) -> bool {
        self.kind = match word {
            "fit" => Kind::Fit,
            "fill" => Kind::Fill,
            "fill-down" => Kind::FillDown,
            "force" => Kind::Force,
            _ => return false,
        };
        true
    }

    /// `width:height:enlarge:extend`, each of them or none.
    fn size(&mut self, words: &[&str]) -> Result<bool, AskError> {
        let word = |at: usize| words.get(at).copied().filter(|word| !word.is_empty());
        if let Some(width) = word(0) {
            self.width(Some(width))?;
        }
        if let Some(height) = word(1) {
            self.height(Some(height))?;
        }
        if let Some(enlarge) = word(2) {
            self.enlarge = is_true(Some(enlarge));
        }
        if let Some(extend) = word(3) {
            self.extend = is_true(Some(extend));
        }
        Ok(true)
    }

    fn width(&mut self, word: Option<&str>) -> Result<(), AskError> {
        self.wish.width = side(word, Field::Width)?.map(Side::Pixels);
        Ok(())
    }

    fn height(&mut self, word: Option<&str>) -> Result<(), AskError> {
        self.wish.height = side(word, Field::Height)?;
        Ok(())
    }

    /// Offsets from a side are not known here.
    fn gravity(&mut self, words: &[&str]) -> Result<bool, AskError> {
        let point = |x, y| Gravity::Point { x, y };
        let (gravity, rest) = match words {
            ["fp", x, y, rest @ ..] => {
                let point = value::point((x, y)).ok_or(AskError::Value(Field::Gravity))?;
                (point, rest)
            }
            ["ce", rest @ ..] => (Gravity::Centre, rest),
            ["sm", ..] => (Gravity::Auto, &[][..]),
            ["no", rest @ ..] => (point(500, 0), rest),
            ["so", rest @ ..] => (point(500, 1000), rest),
            ["ea", rest @ ..] => (point(1000, 500), rest),
            ["we", rest @ ..] => (point(0, 500), rest),
            ["noea", rest @ ..] => (point(1000, 0), rest),
            ["nowe", rest @ ..] => (point(0, 0), rest),
            ["soea", rest @ ..] => (point(1000, 1000), rest),
            ["sowe", rest @ ..] => (point(0, 1000), rest),
            // Found objects; where the detail is comes nearest.
            ["obj" | "objw", ..] => (Gravity::Auto, &[][..]),
            _ => return Err(AskError::Value(Field::Gravity)),
        };
        self.wish.gravity = Some(gravity);
        Ok(rest.iter().all(|offset| matches!(*offset, "" | "0")))
    }

    fn background(&mut self, words: &[&str]) -> Result<(), AskError> {
        let colour = match words {
            [] | [""] => None,
            [hex] => Some(value::hex_colour(hex).ok_or(AskError::Value(Field::Background))?),
            channels => {
                let colour = value::rgb(channels.iter().copied());
                Some(colour.ok_or(AskError::Value(Field::Background))?)
            }
        };
        self.wish.background = colour;
        Ok(())
    }

    fn alpha(&mut self, word: Option<&str>) -> Result<(), AskError> {
        let share = needed(|t| value::hundredths(t, 1), word, Field::Background)?;
        self.alpha = u8::try_from(u32::from(share) * 255 / 100).ok();
        Ok(())
    }

    fn quality(&mut self, word: Option<&str>) -> Result<(), AskError> {
        self.wish.quality = match word {
            None | Some("0") => None,
            Some(word) => Some(Quality::Fixed(
                value::byte(word)
                    .filter(|quality| (1..=100).contains(quality))
                    .ok_or(AskError::Value(Field::Quality))?,
            )),
        };
        Ok(())
    }

    fn format(&mut self, word: &str) -> Result<(), AskError> {
        self.wish.format = Some(match word {
            "best" => Format::Auto,
            _ => value::format(word).ok_or(AskError::Value(Field::Format))?,
        });
        Ok(())
    }

    fn wish(mut self, presets: &[String]) -> Wish {
        let fit = match (self.kind, self.enlarge, self.extend) {
            (Kind::Fit, _, true) => Some(Fit::Pad),
            (Kind::Fit, true, false) => Some(Fit::Contain),
            (Kind::Fit, false, false) => None,
            (Kind::Fill, true, _) => Some(Fit::Cover),
            (Kind::Fill, false, _) | (Kind::FillDown, ..) => Some(Fit::Crop),
            (Kind::Force, ..) => Some(Fit::Squeeze),
        };
        self.wish.fit = fit;
        if let (Some(colour), Some(alpha)) = (&mut self.wish.background, self.alpha) {
            colour.alpha = alpha;
        }
        if presets.is_empty() {
            // There, what isn't said is the source's own format.
            self.wish.format.get_or_insert(Format::As(Output::Original));
        }
        self.wish
    }
}

fn needed<T>(
    read: impl Fn(&str) -> Option<T>,
    word: Option<&str>,
    field: Field,
) -> Result<T, AskError> {
    word.and_then(read).ok_or(AskError::Value(field))
}

/// Zero, like nothing at all, binds nothing.
fn side(word: Option<&str>, field: Field) -> Result<Option<u32>, AskError> {
    match word {
        None | Some("0") => Ok(None),
        Some(word) => value::side(word).map(Some).ok_or(AskError::Value(field)),
    }
}

fn density(word: Option<&str>) -> Result<Density, AskError> {
    match word.and_then(value::density) {
        Some(density @ Density::Hundredths(_)) => Ok(density),
        _ => Err(AskError::Value(Field::Density)),
    }
}

fn tolerance(word: Option<&str>) -> Result<u8, AskError> {
    let whole = word.and_then(|word| word.split('.').next());
    needed(value::byte, whole, Field::Trim)
}

fn is_true(word: Option<&str>) -> bool {
    matches!(word, Some("1" | "t" | "true"))
}
