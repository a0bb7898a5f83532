//! Percent signs, and what may stand in a request's target. RFC 3986 §2.

use std::borrow::Cow;
use std::fmt::Write;

/// Without percent signs that mean something. None: what comes is not UTF-8.
pub fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let escape = rest.get(1..3).filter(|_| *first == b'%');
        match escape.and_then(|pair| Some(nibble(pair[0])? * 16 + nibble(pair[1])?)) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[3..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

fn nibble(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|n| u8::try_from(n).ok())
}

/// As it can be sent: what may not stand in a target is written with percent signs.
pub fn sendable(target: &str) -> String {
    let mut sent = String::with_capacity(target.len());
    for byte in target.bytes() {
        match byte.is_ascii_graphic() && !br##""#<>\^`{|}"##.contains(&byte) {
            true => sent.push(char::from(byte)),
            false => write!(sent, "%{byte:02X}").expect("a string takes it"),
        }
    }
    sent
}
