//! `?w=400&f=webp`: the image parameters of a query. The others are the source's own.

use super::sign::Proof;
use super::source::Source;
use super::text::decoded;
use super::value::whole;
use super::{AskError, Field, Request, Written};
use crate::settings::{ImageSettings, Unknown};
use std::borrow::Cow;

/// What each parameter says. The first name of a field is the one in messages.
pub const NAMES: [(&str, Field); 31] = [
    ("w", Field::Width),
    ("width", Field::Width),
    ("h", Field::Height),
    ("height", Field::Height),
    ("dpr", Field::Density),
    ("fit", Field::Fit),
    ("g", Field::Gravity),
    ("gravity", Field::Gravity),
    ("bg", Field::Background),
    ("background", Field::Background),
    ("blur", Field::Blur),
    ("sharpen", Field::Sharpen),
    ("trim", Field::Trim),
    ("rotate", Field::Rotate),
    ("rot", Field::Rotate),
    ("flip", Field::Flip),
    ("grey", Field::Grey),
    ("gray", Field::Grey),
    ("greyscale", Field::Grey),
    ("grayscale", Field::Grey),
    ("wm", Field::Watermark),
    ("watermark", Field::Watermark),
    ("q", Field::Quality),
    ("quality", Field::Quality),
    ("f", Field::Format),
    ("format", Field::Format),
    ("placeholder", Field::Placeholder),
    ("info", Field::Info),
    ("anim", Field::Animated),
    ("animated", Field::Animated),
    ("metadata", Field::Metadata),
];

/// None: there is no image parameter in it.
pub(super) fn read<'r>(
    request: &Request<'r>,
    settings: &ImageSettings,
) -> Result<Option<Written<'r>>, AskError> {
    let Some(query) = request.query else {
        return Ok(None);
    };
    let is_signed = settings.signing.is_some();
    let mut own = Vec::new();
    let mut written = Written::default();
    let mut is_asked = false;
    for pair in query.split('&') {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let known = decoded(name);
        if let Some(field) = field(&known) {
            written.wish.say(field, &decoded(value))?;
            is_asked = true;
        } else if known == "preset" {
            written.presets.push(decoded(value).into_owned());
            is_asked = true;
        } else if !(pair.is_empty() || is_signed && matches!(name, "s" | "e")) {
            own.push(pair);
        }
    }
    if !is_asked {
        return Ok(None);
    }
    written.presets.dedup();
    if let (Unknown::Refuse, Some(pair)) = (settings.unknown, own.first()) {
        return Err(AskError::Unknown(format!("`{pair}`")));
    }
    written.source = Source::Here(join(request.path, &own.join("&")));
    written.proof = proof(request, settings)?;
    Ok(Some(written))
}

fn field(name: &str) -> Option<Field> {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    known.map(|(_, field)| *field)
}

fn join(path: &str, query: &str) -> String {
    match query.is_empty() {
        true => path.to_owned(),
        false => format!("{path}?{query}"),
    }
}

/// `s` is the signature, `e` the time until which it holds. All but the signature is signed, as it is
/// sent: what percent signs mean is no part of that.
pub(super) fn proof<'r>(
    request: &Request<'r>,
    settings: &ImageSettings,
) -> Result<Proof<'r>, AskError> {
    let (Some(_), Some(query)) = (&settings.signing, request.query) else {
        return Ok(Proof::default());
    };
    let mut proof = Proof::default();
    let mut signed = Vec::new();
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("s", signature)) => proof.signature = Some(decoded(signature)),
            Some(("e", time)) => {
                let time = whole(time).ok_or(AskError::Signature)?;
                proof.expires = Some(time.into());
                signed.push(pair);
            }
            _ => signed.push(pair),
        }
    }
    proof.message = Cow::Owned(join(request.path, &signed.join("&")));
    Ok(proof)
}

/// The source's own query, where the parameters are in the path.
pub(super) fn of_source(query: &str, settings: &ImageSettings) -> String {
    let is_signed = settings.signing.is_some();
    let is_own = |pair: &&str| !(is_signed && (pair.starts_with("s=") || pair.starts_with("e=")));
    query
        .split('&')
        .filter(is_own)
        .collect::<Vec<_>>()
        .join("&")
}

/// Path and query of the source.
pub(super) fn with_own(path: &str, query: Option<&str>, settings: &ImageSettings) -> String {
    join(
        path,
        &query.map_or(String::new(), |query| of_source(query, settings)),
    )
}
