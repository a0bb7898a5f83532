//! `/cdn-cgi/image/width=400,quality=80,format=auto/photos/1.jpg`, as Cloudflare has it: the options
//! of <https://developers.cloudflare.com/images/optimization/features/>, a path or an absolute URL.

use super::text::decoded;
use super::wish::{Format, Side, Wish};
use super::{AskError, Field, Request, Source, Written, query, value};
use crate::plan::{Output, Quality};
use crate::settings::{ImageSettings, Unknown};

pub(super) fn read<'r>(
    request: &Request<'r>,
    settings: &ImageSettings,
) -> Option<Result<Written<'r>, AskError>> {
    let rest = request.path.strip_prefix("/cdn-cgi/image/")?;
    let (options, source) = rest.split_once('/')?;
    Some(written(request, options, source, settings))
}

fn written<'r>(
    request: &Request<'r>,
    options: &str,
    source: &str,
    settings: &ImageSettings,
) -> Result<Written<'r>, AskError> {
    let mut written = Written {
        source: Source::read(
            &query::with_own(source, request.query, settings),
            request.host,
        )?,
        proof: query::proof(request, settings)?,
        ..Written::default()
    };
    for option in separated(&decoded(options)).filter(|option| !option.is_empty()) {
        let (name, value) = option.split_once('=').unwrap_or((option, ""));
        let meant = match name {
            "preset" => {
                written.presets.push(value.to_owned());
                true
            }
            _ => say(&mut written.wish, name, value)?,
        };
        if !meant && settings.unknown == Unknown::Refuse {
            return Err(AskError::Unknown(format!("`{option}`")));
        }
    }
    // There, what isn't said is the source's own format.
    if written.presets.is_empty() {
        written
            .wish
            .format
            .get_or_insert(Format::As(Output::Original));
    }
    Ok(written)
}

/// By commas, but for those between a colour's channels: `rgb(255,0,0)`.
fn separated(options: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    options.split(move |c| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// False: it means nothing here.
fn say(wish: &mut Wish, name: &str, text: &str) -> Result<bool, AskError> {
    let field = match name {
        "width" | "w" => Field::Width,
        "height" | "h" => Field::Height,
        "dpr" => Field::Density,
        "fit" => Field::Fit,
        "gravity" | "g" => Field::Gravity,
        "background" | "bg" => Field::Background,
        "blur" => Field::Blur,
        "sharpen" => Field::Sharpen,
        "rotate" => Field::Rotate,
        "flip" => Field::Flip,
        "anim" => Field::Animated,
        "watermark" => Field::Watermark,
        "quality" | "q" => Field::Quality,
        "format" | "f" => Field::Format,
        "metadata" => Field::Metadata,
        "trim" if value::trim(text).is_some() => Field::Trim,
        "saturation" if is_zero(text) => Field::Grey,
        // How it is to be made, and what is done here anyway.
        "compression" | "onerror" | "slow-connection-quality" | "scq" => return Ok(true),
        _ => return Ok(false),
    };
    match (field, text) {
        (Field::Width, "auto") => wish.width = Some(Side::Auto),
        (Field::Quality, "high") => wish.quality = Some(Quality::Fixed(90)),
        (Field::Quality, "medium-high") => wish.quality = Some(Quality::Fixed(80)),
        (Field::Quality, "medium-low") => wish.quality = Some(Quality::Fixed(65)),
        (Field::Quality, "low") => wish.quality = Some(Quality::Fixed(50)),
        (Field::Format, "json") => wish.format = Some(Format::As(Output::Info)),
        (Field::Format, "baseline-jpeg") => wish.format = Some(Format::As(Output::Jpeg)),
        (Field::Metadata, "keep") => wish.copyright = Some(true),
        (Field::Grey, _) => wish.grey = Some(true),
        // Whole faces are found nowhere here; where the detail is comes nearest.
        (Field::Gravity, "face") => wish.say(field, "auto")?,
        _ => wish.say(field, text)?,
    }
    Ok(true)
}

fn is_zero(text: &str) -> bool {
    value::hundredths(text, 10) == Some(0)
}
