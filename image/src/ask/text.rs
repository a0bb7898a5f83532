//! Percent signs, and what may stand in a request's target. RFC 3986 §2.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use std::borrow::Cow;
use std::str::Utf8Error;

/// What may not stand in a target.
const UNSENDABLE: AsciiSet = CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// A name or a value without percent signs that mean something. What isn't UTF-8 then becomes a
/// character that stands in no name and no value.
pub fn decoded(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// As `decoded`, for what may be any text.
pub fn decoded_whole(text: &str) -> Result<Cow<'_, str>, Utf8Error> {
    percent_decode_str(text).decode_utf8()
}

/// As it can be sent: what may not stand in a target is written with percent signs.
pub fn sendable(target: &str) -> String {
    utf8_percent_encode(target, &UNSENDABLE).to_string()
}
