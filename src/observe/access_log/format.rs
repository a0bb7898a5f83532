//! How a line is written: as JSON, or by a template.

use super::super::settings::AccessLogSettings;
use super::line::{FIELDS, Field, Line};
use http::HeaderName;
use std::io::Write;

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

fn json(headers: &[HeaderName], line: &Line<'_>, settings: &AccessLogSettings, out: &mut Vec<u8>) {
    let mut member = |prefix: &str, name: &str, field: &Field| {
        let Some(value) = field.value(line, settings) else {
            return;
        };
        out.extend_from_slice(if out.is_empty() { b"{\"" } else { b",\"" });
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        let quote = (!value.is_number()).then_some(b'"');
        out.extend(quote);
        value.write(out, json_text);
        out.extend(quote);
    };
    for (name, field) in FIELDS {
        member("", name, field);
    }
    for name in headers {
        member("header:", name.as_str(), &Field::Header(name.clone()));
    }
    out.extend_from_slice(b"}\n");
}

/// RFC 8259 §7. What is not UTF-8 is replaced.
fn json_text(text: &[u8], out: &mut Vec<u8>) {
    let is_plain = |b: &u8| (b' '..0x7f).contains(b) && *b != b'"' && *b != b'\\';
    if text.iter().all(is_plain) {
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
    use super::super::line::example;
    use super::*;
    use proptest::prelude::*;

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
    }
}
