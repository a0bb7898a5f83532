//! How a line is written: as JSON, or by a template.

use super::super::settings::AccessLogSettings;
use super::clock;
use super::line::{
    FIELDS, Field, Line, client, header_value, query, write_address, write_millis, write_number,
};
use crate::endpoint::Endpoint;
use http::HeaderName;
use std::io::Write;

/// Most lines of JSON are shorter.
const LINE: usize = 512;

/// Field names that only templates know.
const MORE: &[(&str, Field)] = &[("common_time", Field::CommonTime), ("uri", Field::Uri)];

const COMMON: &str = r#"{client} - - [{common_time}] "{method} {uri} {version}" {status} {bytes}"#;
const REFERER_AND_AGENT: &str = r#" "{header:referer}" "{header:user-agent}""#;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// With these fields of requests beside all else.
    Json(Vec<HeaderName>),
    Template(Vec<Piece>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Text(String),
    Field(Field),
}

impl LogFormat {
    /// The common log format, as web servers have written it since NCSA's.
    pub fn common() -> LogFormat {
        LogFormat::template(COMMON).expect("its fields are known")
    }

    /// The same with Referer and User-Agent.
    pub fn combined() -> LogFormat {
        let text = [COMMON, REFERER_AND_AGENT].concat();
        LogFormat::template(&text).expect("its fields are known")
    }

    /// `{name}` and `{header:name}` are fields, `{{` and `}}` braces. The error is what is none.
    pub fn template(text: &str) -> Result<LogFormat, String> {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            plain += before;
            if let Some(after) = ["{{", "}}"].iter().find_map(|two| brace.strip_prefix(two)) {
                plain += &brace[..1];
                rest = after;
                continue;
            }
            let field = brace.strip_prefix('{').and_then(|b| b.split_once('}'));
            let (name, after) = field.ok_or_else(|| brace.to_owned())?;
            let field = field_of(name).ok_or_else(|| name.to_owned())?;
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Field(field));
            rest = after;
        }
        plain += rest;
        plain.push('\n');
        pieces.push(Piece::Text(plain));
        Ok(LogFormat::Template(pieces))
    }

    /// What a template may name.
    pub fn fields() -> impl Iterator<Item = &'static str> {
        FIELDS.iter().chain(MORE).map(|(name, _)| *name)
    }

    /// A whole line, with its end.
    pub fn write(&self, line: &Line<'_>, settings: &AccessLogSettings, out: &mut Vec<u8>) {
        match self {
            LogFormat::Json(headers) => json(headers, line, settings, out),
            LogFormat::Template(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text.as_bytes()),
                        Piece::Field(field) => match field.value(line, settings) {
                            Some(value) => value.write(out, escape),
                            None => out.push(b'-'),
                        },
                    }
                }
            }
        }
    }
}

fn field_of(name: &str) -> Option<Field> {
    if let Some(header) = name.strip_prefix("header:") {
        let name = HeaderName::from_bytes(header.as_bytes()).ok()?;
        return Some(Field::Header(name));
    }
    let mut known = FIELDS.iter().chain(MORE);
    let (_, field) = known.find(|(known, _)| *known == name)?;
    Some(field.clone())
}

/// Writes a member that is not the first. What it is called stands there as it is written: that costs
/// a fifth of putting it together for each line.
macro_rules! member {
    ($out:ident, $name:literal, text $value:expr) => {
        $out.extend_from_slice(concat!(",\"", $name, "\":\"").as_bytes());
        json_text($value, $out);
        $out.push(b'"');
    };
    ($out:ident, $name:literal, plain $value:expr) => {
        $out.extend_from_slice(concat!(",\"", $name, "\":\"").as_bytes());
        $out.extend_from_slice($value);
        $out.push(b'"');
    };
    ($out:ident, $name:literal, $write:ident $value:expr) => {
        $out.extend_from_slice(concat!(",\"", $name, "\":").as_bytes());
        $write($value, $out);
    };
}

/// The same, unless its value is None.
macro_rules! member_of {
    ($out:ident, $name:literal, $kind:ident $value:expr) => {
        if let Some(value) = $value {
            member!($out, $name, $kind value);
        }
    };
}

/// Its members, and their order, are those of `FIELDS`. Plain is what has no quote, no backslash and
/// nothing beyond ASCII, whoever asks.
fn json(headers: &[HeaderName], line: &Line<'_>, settings: &AccessLogSettings, out: &mut Vec<u8>) {
    out.reserve(LINE);
    out.extend_from_slice(b"{\"time\":\"");
    clock::write_iso(line.time, out);
    out.extend_from_slice(b"\",\"id\":\"");
    out.extend_from_slice(line.request_id);
    out.extend_from_slice(b"\",\"client\":\"");
    write_address(client(line, settings), out);
    out.push(b'"');
    member!(out, "method", plain line.method.as_bytes());
    member!(out, "host", text line.host.as_bytes());
    member!(out, "path", text line.path);
    member_of!(out, "query", text query(line, settings).as_deref());
    member!(out, "version", plain line.version.as_bytes());
    if let Some((version, cipher, name)) = line.tls {
        member!(out, "tls", plain version.as_bytes());
        // QUIC does not tell.
        member_of!(out, "cipher", plain Some(cipher.as_bytes()).filter(|c| !c.is_empty()));
        member_of!(out, "sni", text name.map(str::as_bytes));
    }
    member!(out, "status", write_number line.status.into());
    member!(out, "bytes", write_number line.bytes as u64);
    member_of!(out, "received", write_number Some(line.received).filter(|n| *n > 0));
    member!(out, "ms", write_millis line.duration);
    member_of!(out, "wait_ms", write_millis line.phases.wait);
    member_of!(out, "connect_ms", write_millis line.phases.connect);
    member_of!(out, "first_byte_ms", write_millis line.phases.first_byte);
    member!(out, "route", text line.route.as_bytes());
    member_of!(out, "upstream", text line.upstream.map(str::as_bytes));
    member_of!(out, "server", write_server line.server);
    member_of!(out, "attempts", write_number Some(line.attempts as u64).filter(|n| *n > 0));
    member_of!(out, "cache", plain line.cache.map(str::as_bytes));
    member_of!(out, "limit", text line.limit.map(str::as_bytes));
    member_of!(out, "dry_limit", text line.dry_limit.map(str::as_bytes));
    if let Some(trace) = line.trace {
        member!(out, "trace", plain format!("{trace:032x}").as_bytes());
    }
    member_of!(out, "error", text line.error.map(str::as_bytes));
    for name in headers {
        if let Some(value) = header_value(name, line, settings) {
            out.extend_from_slice(b",\"header:");
            out.extend_from_slice(name.as_str().as_bytes());
            out.extend_from_slice(b"\":\"");
            json_text(&value, out);
            out.push(b'"');
        }
    }
    out.extend_from_slice(b"}\n");
}

fn write_server(server: &Endpoint, out: &mut Vec<u8>) {
    out.push(b'"');
    match server {
        // Writing to a Vec can't fail.
        Endpoint::Tcp(address) => drop(write!(out, "{address}")),
        Endpoint::Unix(_) => json_text(server.to_string().as_bytes(), out),
    }
    out.push(b'"');
}

/// RFC 8259 §7. What is not UTF-8 is replaced.
fn json_text(text: &[u8], out: &mut Vec<u8>) {
    if is_plain(text) {
        return out.extend_from_slice(text);
    }
    for c in String::from_utf8_lossy(text).chars() {
        match c {
            '"' | '\\' => out.extend([b'\\', c as u8]),
            // Writing to a Vec can't fail.
            c if c < ' ' => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Whether it is written as it is: eight bytes at a time, for most texts are, and short.
fn is_plain(text: &[u8]) -> bool {
    let (words, rest) = text.as_chunks();
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.iter().chain([&last]).all(|word| {
        const ONES: u64 = u64::MAX / 255;
        let word = u64::from_ne_bytes(*word);
        // In some byte the highest bit is set, surely and only if some byte is below `n`.
        let below = |word: u64, n: u64| word.wrapping_sub(ONES * n) & !word;
        let has = |byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
        let strange = word | below(word, 0x20) | has(b'"') | has(b'\\') | has(0x7f);
        strange & (ONES * 0x80) == 0
    })
}

/// So that a line stays one, and what stands in quotes there: nothing, as web servers write it, is `-`.
fn escape(text: &[u8], out: &mut Vec<u8>) {
    if text.is_empty() {
        out.push(b'-');
    }
    for byte in text {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => drop(write!(out, "\\x{byte:02X}")),
            byte => out.push(*byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::line::{Phases, example};
    use super::*;
    use proptest::prelude::*;
    use std::net::SocketAddr;
    use std::time::Duration;

    fn written(format: LogFormat, line: &Line<'_>, query: bool) -> String {
        let settings = AccessLogSettings {
            query,
            ..AccessLogSettings::default()
        };
        let mut out = Vec::new();
        format.write(line, &settings, &mut out);
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn the_formats_that_everybody_reads() {
        let line = example();
        assert_eq!(
            written(LogFormat::common(), &line, false),
            "203.0.113.77 - - [29/Feb/2024:12:34:56 +0000] \"GET /a HTTP/1.1\" 200 12\n"
        );
        assert_eq!(
            written(LogFormat::combined(), &line, true),
            "203.0.113.77 - - [29/Feb/2024:12:34:56 +0000] \"GET /a?b=1&token=*** HTTP/1.1\" 200 12 \
             \"http://a/?token=***\" \"a \\x22browser\\x22\"\n"
        );
    }

    #[test]
    fn a_template_says_what_it_is_told_to() {
        let template = |text| LogFormat::template(text);
        let format = template("{{{ms}}} {server} {header:cookie} é").expect("a template");
        assert_eq!(written(format, &example(), false), "{1.500} - *** é\n");
        for (text, wrong) in [
            ("{a", "{a"),
            ("a}", "}"),
            ("{nope}", "nope"),
            ("{header:}", "header:"),
        ] {
            assert_eq!(template(text), Err(wrong.to_owned()), "{text}");
        }
    }

    #[test]
    fn json_has_what_there_is() {
        let headers = vec![http::header::COOKIE, http::header::USER_AGENT];
        let text = written(LogFormat::Json(headers), &example(), true);
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["time"], "2024-02-29T12:34:56.789Z");
        assert_eq!((&json["ms"], &json["status"]), (&1.5.into(), &200.into()));
        assert_eq!(json["query"], "b=1&token=***");
        assert_eq!(json["header:cookie"], "***");
        assert_eq!(json["header:user-agent"], "a \"browser\"");
        assert!(json.get("server").is_none() && json.get("attempts").is_none());
    }

    #[test]
    fn json_has_every_field_in_its_order() {
        let server = SocketAddr::from(([127, 0, 0, 1], 3000)).into();
        let line = Line {
            tls: Some(("TLSv1.3", "TLS13_AES_128_GCM_SHA256", Some("shop.example"))),
            received: 5,
            phases: Phases {
                wait: Some(Duration::from_micros(1)),
                connect: Some(Duration::from_micros(2)),
                first_byte: Some(Duration::from_micros(3)),
            },
            upstream: Some("app"),
            server: Some(&server),
            attempts: 1,
            limit: Some("all"),
            dry_limit: Some("some"),
            trace: Some(7),
            error: Some("broke off"),
            ..example()
        };
        let text = written(LogFormat::Json(Vec::new()), &line, true);
        let at = |name: &str| text.find(&format!("\"{name}\":"));
        let places: Vec<_> = FIELDS.iter().map(|(name, _)| at(name)).collect();
        assert!(
            places.iter().all(Option::is_some) && places.is_sorted(),
            "{text}"
        );
        // And says of each what a template does.
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        for (name, _) in FIELDS {
            let format = LogFormat::template(&format!("{{{name}}}")).expect("a template");
            let said = written(format, &line, true);
            let member = &json[name];
            let member = member.as_str().map_or(member.to_string(), str::to_owned);
            let same =
                member == said.trim_end() || said.trim_end().parse() == member.parse::<f64>();
            assert!(same, "{name}: {member} and {said}");
        }
    }

    proptest! {
        #[test]
        fn a_line_is_one_and_can_be_read_whatever_clients_send(path: Vec<u8>, agent in "[ -~]{0,20}") {
            let mut headers = http::HeaderMap::new();
            headers.insert(http::header::USER_AGENT, agent.parse().expect("ASCII"));
            let line = Line { path: &path, headers: &headers, ..example() };
            let format = LogFormat::Json(vec![http::header::USER_AGENT]);
            let text = written(format, &line, false);
            let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
            prop_assert_eq!(&json["path"], &*String::from_utf8_lossy(&path));
            prop_assert_eq!(&json["header:user-agent"], &*agent);
            let text = written(LogFormat::combined(), &line, false);
            prop_assert_eq!(text.matches('\n').count(), 1);
            prop_assert_eq!(text.matches('"').count(), 6);
        }

        #[test]
        fn plain_is_what_json_writes_as_it_is(text: Vec<u8>, plain in "[ !#-\\[\\]-~]{0,40}") {
            prop_assert!(is_plain(plain.as_bytes()));
            let is = |b: &u8| (b' '..0x7f).contains(b) && !b"\"\\".contains(b);
            prop_assert_eq!(is_plain(&text), text.iter().all(is));
            // One among many that are plain.
            for byte in text {
                let mixed = [plain.as_bytes(), &[byte], plain.as_bytes()].concat();
                prop_assert_eq!(is_plain(&mixed), is(&byte));
            }
        }
    }
}
