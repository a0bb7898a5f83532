//! `request_headers` and `response_headers`: fields to set and to remove.

use super::HeaderEdits;
use super::section::Section;
use super::values::{header_name, header_text};
use http::{HeaderName, HeaderValue, header};

/// Of one connection, not of the message (RFC 9110 §7.6.1), or what frames it: Lakh writes these
/// itself, and a message with another's value would be cut wrong.
const OWN: [HeaderName; 8] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

pub fn read(s: &mut Section<'_>) -> HeaderEdits {
    let edits = HeaderEdits {
        set: s.pairs("set", field, value),
        remove: s.list("remove", field),
    };
    check_once(s, &edits);
    edits
}

fn field(text: &str) -> Result<HeaderName, String> {
    let name = header_name(text)?;
    match OWN.contains(&name) {
        true => Err(format!(
            "`{text}` belongs to one connection, and Lakh writes it itself; remove it"
        )),
        false => Ok(name),
    }
}

fn value(text: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::try_from(header_text(text)?);
    Ok(value.expect("printable ASCII is a header value"))
}

/// Names differ from keys in that case doesn't tell them apart.
fn check_once(s: &Section<'_>, edits: &HeaderEdits) {
    for (index, (name, _)) in edits.set.iter().enumerate() {
        if edits.set[..index]
            .iter()
            .any(|(earlier, _)| earlier == name)
        {
            s.error("set", format!("`{name}` is there twice; remove one"));
        }
        if edits.remove.contains(name) {
            s.error(
                "remove",
                format!("`{name}` is under `set` as well; remove one of the two"),
            );
        }
    }
}
