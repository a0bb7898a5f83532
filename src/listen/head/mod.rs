//! Is this head a request that everybody reads alike? Checked before Pingora sees it, which is
//! more lenient. Sections without a document are of RFC 9112.

mod offer;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use offer::{may_switch, without_offer};

/// Fields of one head; more is refused. As Pingora's own bound.
const MAX_FIELDS: usize = 256;

/// How much of the connection belongs to the request after its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes of body.
    Length(u64),
    Chunked,
    /// May switch protocols: what follows is not ours to cut.
    Upgrade,
}

/// What is wrong, for the log and the problem's `detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

impl Malformed {
    /// As a stream reports it.
    pub fn into_io(self) -> std::io::Error {
        std::io::Error::new(std::io::ErrorKind::InvalidData, self.0)
    }
}

/// `head` is everything up to and with the empty line.
pub fn check(head: &[u8]) -> Result<Checked, Malformed> {
    let mut fields = [std::mem::MaybeUninit::uninit(); MAX_FIELDS];
    let request = parse(head, &mut fields)?;
    let method = request.method.unwrap_or("");
    check_target(method, request.path.unwrap_or(""))?;
    let http11 = request.version == Some(1);
    let (framing, offers) = framing(http11 && method != "CONNECT", http11, request.headers)?;
    let plain = match framing {
        Framing::Length(0) => {
            http11
                && matches!(method, "GET" | "HEAD")
                && !request.headers.iter().any(is_of_the_connection)
        }
        Framing::Upgrade => true,
        _ => false,
    };
    let declined = offers && framing != Framing::Upgrade;
    Ok(Checked {
        framing,
        plain,
        declined,
        is_http_11: http11,
    })
}

/// What `check` found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    pub framing: Framing,
    /// A GET or HEAD over HTTP/1.1, without a body, that wants nothing of the connection but that
    /// it stays open, or one that may switch protocols: what can be answered without knowing more of HTTP/1.
    pub plain: bool,
    /// Another protocol is offered that is not taken: see `without_offer`.
    pub declined: bool,
    /// Answers before the answer are understood: RFC 9110 §15.2.
    pub is_http_11: bool,
}

fn is_of_the_connection(field: &httparse::Header<'_>) -> bool {
    match field.name.len() {
        2 => field.name.eq_ignore_ascii_case("te"),
        6 => field.name.eq_ignore_ascii_case("expect"),
        10 if field.name.eq_ignore_ascii_case("connection") => {
            !field.value.eq_ignore_ascii_case(b"keep-alive")
        }
        _ => false,
    }
}

/// A plain request's head, read. Reused from request to request: `fields` keeps its room.
#[derive(Default)]
pub struct Head {
    pub method: Method,
    /// Path and query, as they were sent.
    pub target: Bytes,
    pub fields: HeaderMap,
}

impl Head {
    /// `head` is one that `check` has passed.
    pub fn read(&mut self, head: &[u8]) -> Result<(), Malformed> {
        // One copy that all values are slices of.
        let head = Bytes::copy_from_slice(head);
        let mut fields = [std::mem::MaybeUninit::uninit(); MAX_FIELDS];
        let request = parse(&head, &mut fields)?;
        self.method = match request.method {
            Some("HEAD") => Method::HEAD,
            Some("GET") | None => Method::GET,
            Some(method) => Method::from_bytes(method.as_bytes())
                .map_err(|_| Malformed("a method that is none"))?,
        };
        self.target = head.slice_ref(request.path.unwrap_or("").as_bytes());
        self.fields.clear();
        for field in request.headers.iter() {
            let name = HeaderName::from_bytes(field.name.as_bytes());
            let value = HeaderValue::from_maybe_shared(head.slice_ref(field.value));
            let (Ok(name), Ok(value)) = (name, value) else {
                return Err(Malformed("a header field that is none"));
            };
            self.fields.append(name, value);
        }
        Ok(())
    }
}

/// The head with a path for its target, where that is a URL, or the host of a CONNECT. §3.2.2: a server
/// takes both, and of two hosts the target's counts.
pub fn to_origin_form(head: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    // Nearly every target is a path.
    let space = memchr::memchr(b' ', head).unwrap_or(0);
    if head.get(space + 1) == Some(&b'/') {
        return Ok(None);
    }
    let mut fields = [std::mem::MaybeUninit::uninit(); MAX_FIELDS];
    let request = parse(head, &mut fields)?;
    let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
    let (authority, rest) = match target.split_once("://") {
        Some((_, url)) => url.split_at(url.find(['/', '?']).unwrap_or(url.len())),
        None if method == "CONNECT" => (target, ""),
        None => return Ok(None),
    };
    if authority.is_empty() {
        return Err(Malformed("the target is a URL without a host"));
    }
    check_host(authority.as_bytes())?;
    let slash = match (method, rest.as_bytes()) {
        ("OPTIONS", []) => "*",
        (_, [b'/', ..]) => "",
        _ => "/",
    };
    let version = request.version.unwrap_or(1);
    let mut origin_form =
        format!("{method} {slash}{rest} HTTP/1.{version}\r\nHost: {authority}\r\n").into_bytes();
    for field in request.headers.iter() {
        if !field.name.eq_ignore_ascii_case("host") {
            origin_form.extend([field.name.as_bytes(), b": ", field.value, b"\r\n"].concat());
        }
    }
    origin_form.extend(b"\r\n");
    Ok(Some(origin_form))
}

fn parse<'h, 'b>(
    head: &'b [u8],
    fields: &'h mut [std::mem::MaybeUninit<httparse::Header<'b>>],
) -> Result<httparse::Request<'h, 'b>, Malformed> {
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, fields) {
        Ok(httparse::Status::Complete(_)) => Ok(request),
        Ok(httparse::Status::Partial) => Err(Malformed("the head is incomplete")),
        Err(httparse::Error::TooManyHeaders) => Err(Malformed("too many header fields")),
        Err(_) => Err(Malformed("the head is not HTTP/1")),
    }
}

/// §3.2: origin form, or absolute form, or `*` for OPTIONS. CONNECT is none of a gateway's.
fn check_target(method: &str, target: &str) -> Result<(), Malformed> {
    let clean = target
        .bytes()
        .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'#'));
    if !clean {
        return Err(Malformed(
            "the target has characters that must be percent-encoded",
        ));
    }
    let known_form = target.starts_with('/')
        || (target == "*" && method == "OPTIONS")
        || target
            .get(..7)
            .is_some_and(|s| s.eq_ignore_ascii_case("http://"))
        || target
            .get(..8)
            .is_some_and(|s| s.eq_ignore_ascii_case("https://"))
        || method == "CONNECT";
    if known_form {
        Ok(())
    } else {
        Err(Malformed("the target is neither a path nor a URL"))
    }
}

/// And whether another protocol is offered. `switches`: it may be.
fn framing(
    switches: bool,
    http11: bool,
    fields: &[httparse::Header<'_>],
) -> Result<(Framing, bool), Malformed> {
    let (mut hosts, mut length, mut coding, mut upgrade) = (0, None, None, false);
    for field in fields {
        let is = |name: &str| field.name.eq_ignore_ascii_case(name);
        if is("host") {
            hosts += 1;
            check_host(field.value)?;
        } else if is("content-length") {
            let value = content_length(field.value)?;
            if length.replace(value).is_some() {
                return Err(Malformed("several Content-Length fields"));
            }
        } else if is("transfer-encoding") {
            if coding.replace(field.value).is_some() {
                return Err(Malformed("several Transfer-Encoding fields"));
            }
        } else if is("upgrade") {
            upgrade = true;
        }
    }
    if hosts > 1 || (http11 && hosts == 0) {
        return Err(Malformed("HTTP/1.1 needs exactly one Host field"));
    }
    let pairs = || fields.iter().map(|field| (field.name, field.value));
    let framing = match (coding, length) {
        (Some(_), Some(_)) => Err(Malformed("both Transfer-Encoding and Content-Length")),
        (Some(_), None) if !http11 => Err(Malformed("Transfer-Encoding with HTTP/1.0")),
        (Some(c), None) if !c.trim_ascii().eq_ignore_ascii_case(b"chunked") => {
            Err(Malformed("a Transfer-Encoding other than chunked"))
        }
        (Some(_), None) => Ok(Framing::Chunked),
        _ if upgrade && switches && may_switch(pairs()) => Ok(Framing::Upgrade),
        (None, length) => Ok(Framing::Length(length.unwrap_or(0))),
    };
    Ok((framing?, upgrade))
}

/// §3.2: a host and perhaps a port; empty is allowed where the target has no authority.
fn check_host(value: &[u8]) -> Result<(), Malformed> {
    let host_byte = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(b);
    let is_address = |text: &[u8]| {
        let text = std::str::from_utf8(text).unwrap_or_default();
        text.parse::<std::net::Ipv6Addr>().is_ok()
    };
    let (is_host, rest) = match value.strip_prefix(b"[") {
        Some(rest) => match memchr::memchr(b']', rest) {
            Some(end) => (is_address(&rest[..end]), &rest[end + 1..]),
            None => (false, rest),
        },
        None => {
            let end = memchr::memchr(b':', value).unwrap_or(value.len());
            (value[..end].iter().all(host_byte), &value[end..])
        }
    };
    let is_port = match rest {
        [] => true,
        [b':', port @ ..] => port.len() <= 5 && port.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    match is_host && is_port {
        true => Ok(()),
        false => Err(Malformed("Host is not a host with an optional port")),
    }
}

/// RFC 9110 §8.6: digits only, no list, no sign.
fn content_length(value: &[u8]) -> Result<u64, Malformed> {
    let value = value.trim_ascii();
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed("Content-Length is not a number"))
}
