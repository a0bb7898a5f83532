//! What can be said of a request, field by field, and how each is written.

use super::super::settings::AccessLogSettings;
use super::clock;
use super::redact::{HIDDEN, truncated};
use crate::endpoint::Endpoint;
use http::{HeaderMap, HeaderName, header};
use std::borrow::Cow;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// A finished request.
pub struct Line<'a> {
    /// When its head had come, since 1970.
    pub time: Duration,
    pub request_id: &'a [u8],
    pub client: IpAddr,
    pub method: &'a str,
    pub host: &'a str,
    pub path: &'a [u8],
    pub query: Option<&'a [u8]>,
    pub version: &'static str,
    pub headers: &'a HeaderMap,
    /// Version, cipher and the name that was asked for, inside TLS.
    pub tls: Option<(&'static str, &'static str, Option<&'a str>)>,
    pub status: u16,
    /// Of the answer's body.
    pub bytes: usize,
    /// Of the request's body.
    pub received: u64,
    pub duration: Duration,
    pub phases: Phases,
    pub route: &'a str,
    pub upstream: Option<&'a str>,
    /// The last one that was asked.
    pub server: Option<&'a Endpoint>,
    pub attempts: usize,
    pub cache: Option<&'a str>,
    /// The rate limit that refused it, or would have but for `dry_run`.
    pub limit: Option<&'a str>,
    pub dry_limit: Option<&'a str>,
    /// Of the trace that it is part of.
    pub trace: Option<u128>,
    /// For a failed request: why.
    pub error: Option<&'a str>,
}

/// What a request's time was spent on; of a server, the last one that was asked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Phases {
    /// For a turn within the upstream's concurrency.
    pub wait: Option<Duration>,
    /// Until there was a connection; None where one was kept.
    pub connect: Option<Duration>,
    /// From picking the server to its answer's head.
    pub first_byte: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field {
    Time,
    /// As the common log format has it.
    CommonTime,
    Id,
    Client,
    Method,
    Host,
    Path,
    Query,
    /// Path, and query where that is wanted.
    Uri,
    Version,
    Tls,
    Cipher,
    Sni,
    Status,
    Bytes,
    Received,
    Duration,
    Wait,
    Connect,
    FirstByte,
    Route,
    Upstream,
    Server,
    Attempts,
    Cache,
    Limit,
    DryLimit,
    Trace,
    Error,
    Header(HeaderName),
}

/// What fields are called, in the order in which a line of JSON has them.
pub const FIELDS: &[(&str, Field)] = &[
    ("time", Field::Time),
    ("id", Field::Id),
    ("client", Field::Client),
    ("method", Field::Method),
    ("host", Field::Host),
    ("path", Field::Path),
    ("query", Field::Query),
    ("version", Field::Version),
    ("tls", Field::Tls),
    ("cipher", Field::Cipher),
    ("sni", Field::Sni),
    ("status", Field::Status),
    ("bytes", Field::Bytes),
    ("received", Field::Received),
    ("ms", Field::Duration),
    ("wait_ms", Field::Wait),
    ("connect_ms", Field::Connect),
    ("first_byte_ms", Field::FirstByte),
    ("route", Field::Route),
    ("upstream", Field::Upstream),
    ("server", Field::Server),
    ("attempts", Field::Attempts),
    ("cache", Field::Cache),
    ("limit", Field::Limit),
    ("dry_limit", Field::DryLimit),
    ("trace", Field::Trace),
    ("error", Field::Error),
];

pub enum Value<'a> {
    Text(Cow<'a, [u8]>),
    Number(u64),
    /// In milliseconds.
    Time(Duration),
    Iso(Duration),
    CommonTime(Duration),
    Client(IpAddr),
    Server(&'a Endpoint),
    Trace(u128),
}

impl Field {
    /// None: it has none, or nobody is to know.
    pub fn value<'a>(&self, line: &Line<'a>, settings: &AccessLogSettings) -> Option<Value<'a>> {
        let text = |text: &'a str| Value::Text(Cow::Borrowed(text.as_bytes()));
        Some(match self {
            Field::Time => Value::Iso(line.time),
            Field::CommonTime => Value::CommonTime(line.time),
            Field::Id => Value::Text(Cow::Borrowed(line.request_id)),
            Field::Client => Value::Client(client(line, settings)),
            Field::Method => text(line.method),
            Field::Host => text(line.host),
            Field::Path => Value::Text(Cow::Borrowed(line.path)),
            Field::Query => Value::Text(query(line, settings)?),
            Field::Uri => Value::Text(uri(line, settings)),
            Field::Version => text(line.version),
            Field::Tls => text(line.tls?.0),
            Field::Cipher => text(line.tls?.1),
            Field::Sni => text(line.tls?.2?),
            Field::Status => Value::Number(line.status.into()),
            Field::Bytes => Value::Number(line.bytes as u64),
            Field::Received => Value::Number(Some(line.received).filter(|n| *n > 0)?),
            Field::Duration => Value::Time(line.duration),
            Field::Wait => Value::Time(line.phases.wait?),
            Field::Connect => Value::Time(line.phases.connect?),
            Field::FirstByte => Value::Time(line.phases.first_byte?),
            Field::Route => text(line.route),
            Field::Upstream => text(line.upstream?),
            Field::Server => Value::Server(line.server?),
            Field::Attempts => Value::Number(Some(line.attempts).filter(|n| *n > 0)? as u64),
            Field::Cache => text(line.cache?),
            Field::Limit => text(line.limit?),
            Field::DryLimit => text(line.dry_limit?),
            Field::Trace => Value::Trace(line.trace?),
            Field::Error => text(line.error?),
            Field::Header(name) => Value::Text(header_value(name, line, settings)?),
        })
    }
}

pub fn client(line: &Line<'_>, settings: &AccessLogSettings) -> IpAddr {
    match settings.truncate {
        true => truncated(line.client),
        false => line.client,
    }
}

pub fn query<'a>(line: &Line<'a>, settings: &AccessLogSettings) -> Option<Cow<'a, [u8]>> {
    let query = line.query.filter(|_| settings.query)?;
    Some(settings.redact.query(query))
}

fn uri<'a>(line: &Line<'a>, settings: &AccessLogSettings) -> Cow<'a, [u8]> {
    match query(line, settings) {
        Some(query) => Cow::Owned([line.path, b"?", &query].concat()),
        None => Cow::Borrowed(line.path),
    }
}

pub fn header_value<'a>(
    name: &HeaderName,
    line: &Line<'a>,
    settings: &AccessLogSettings,
) -> Option<Cow<'a, [u8]>> {
    let value = line.headers.get(name)?.as_bytes();
    Some(match settings.redact.hides(name) {
        true => Cow::Borrowed(HIDDEN),
        false if *name == header::REFERER => settings.redact.url(value, settings.query),
        false => Cow::Borrowed(value),
    })
}

impl Value<'_> {
    /// `escape` is for what clients and servers have chosen; all else is plain.
    pub fn write(&self, out: &mut Vec<u8>, escape: fn(&[u8], &mut Vec<u8>)) {
        match self {
            Value::Text(text) => escape(text, out),
            Value::Number(number) => write_number(*number, out),
            Value::Time(time) => write_millis(*time, out),
            Value::Iso(time) => clock::write_iso(*time, out),
            Value::CommonTime(time) => clock::write_common(*time, out),
            Value::Client(address) => write_address(*address, out),
            // Writing to a Vec can't fail.
            Value::Server(address) => drop(write!(out, "{address}")),
            Value::Trace(id) => drop(write!(out, "{id:032x}")),
        }
    }
}

pub fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(v4) = address else {
        // Writing to a Vec can't fail.
        return drop(write!(out, "{address}"));
    };
    let (mut text, mut end) = ([0; 16], 0);
    let mut put = |byte| {
        text[end] = byte;
        end += 1;
    };
    for octet in v4.octets() {
        if octet >= 100 {
            put(b'0' + octet / 100);
        }
        if octet >= 10 {
            put(b'0' + octet / 10 % 10);
        }
        put(b'0' + octet % 10);
        put(b'.');
    }
    out.extend_from_slice(&text[..end - 1]);
}

pub fn write_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// To the microsecond.
pub fn write_millis(time: Duration, out: &mut Vec<u8>) {
    let micros = time.as_micros() as u64;
    write_number(micros / 1000, out);
    let digit = |n: u64| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
}

#[cfg(test)]
impl Line<'_> {
    pub fn example(path: &str, status: u16) -> Line<'_> {
        Line {
            path: path.as_bytes(),
            status,
            ..example()
        }
    }
}

/// For tests.
#[cfg(test)]
pub fn example() -> Line<'static> {
    static FIELDS: std::sync::LazyLock<HeaderMap> = std::sync::LazyLock::new(|| {
        let mut fields = HeaderMap::new();
        let value = http::HeaderValue::from_static;
        fields.insert(header::USER_AGENT, value("a \"browser\""));
        fields.insert(header::REFERER, value("http://a/?token=1"));
        fields.insert(header::COOKIE, value("session=secret"));
        fields
    });
    Line {
        time: Duration::from_millis(1_709_210_096_789),
        request_id: b"abc",
        client: [203, 0, 113, 77].into(),
        method: "GET",
        host: "shop.example",
        path: b"/a",
        query: Some(b"b=1&token=secret"),
        version: "HTTP/1.1",
        headers: &FIELDS,
        tls: None,
        status: 200,
        bytes: 12,
        received: 0,
        duration: Duration::from_micros(1500),
        phases: Phases::default(),
        route: "home",
        upstream: None,
        server: None,
        attempts: 0,
        cache: Some("hit"),
        limit: None,
        dry_limit: None,
        trace: None,
        error: None,
    }
}
