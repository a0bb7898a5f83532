//! Offers of another protocol on the same connection.

use super::{MAX_FIELDS, Malformed, parse};

/// Whether the connection may be switched to what Upgrade names: RFC 9110 §7.8. Not to a protocol that would
/// carry requests past all that is looked at here, HTTP/2 (RFC 9113 §3.1) or TLS; and not behind a body, whose
/// end would be another matter for each who reads it.
pub fn may_switch<'a>(fields: impl Iterator<Item = (&'a str, &'a [u8])>) -> bool {
    let (mut named, mut listed) = (false, false);
    for (name, value) in fields {
        let mut tokens = value.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        if name.eq_ignore_ascii_case("upgrade") {
            named = true;
            if tokens.any(carries_requests) {
                return false;
            }
        } else if name.eq_ignore_ascii_case("connection") {
            listed |= tokens.any(|token| token.eq_ignore_ascii_case(b"upgrade"));
        } else if name.eq_ignore_ascii_case("content-length") {
            if value.trim_ascii() != b"0" {
                return false;
            }
        } else if name.eq_ignore_ascii_case("transfer-encoding")
            || name.eq_ignore_ascii_case("expect")
        {
            return false;
        }
    }
    named && listed
}

fn carries_requests(protocol: &[u8]) -> bool {
    let begins = |with: &[u8]| {
        let name = protocol.get(..with.len());
        name.is_some_and(|name| name.eq_ignore_ascii_case(with))
    };
    protocol.is_empty() || begins(b"h2") || begins(b"http") || begins(b"tls")
}

/// The head without the offer of another protocol, which whoever reads it next could take.
pub fn without_offer(head: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut fields = [std::mem::MaybeUninit::uninit(); MAX_FIELDS];
    let request = parse(head, &mut fields)?;
    let line = memchr::memchr(b'\n', head).map_or(0, |end| end + 1);
    let mut without = head[..line].to_vec();
    for field in request.headers.iter() {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if !is("upgrade") && !is("http2-settings") {
            without.extend([field.name.as_bytes(), b": ", field.value, b"\r\n"].concat());
        }
    }
    without.extend(b"\r\n");
    Ok(without)
}
