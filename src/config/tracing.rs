//! `tracing`: where spans go, and of how many requests.

use super::section::Section;
use super::units::share;
use crate::observe::TracingSettings;
use http::Uri;

/// Where collectors speak OTLP over gRPC.
const GRPC: u16 = 4317;

pub fn read(s: &mut Section<'_>) -> TracingSettings {
    let default = TracingSettings::default();
    let settings = TracingSettings {
        otlp: s.optional("otlp", collector),
        sample: s.or("sample", default.sample, share),
        service: s.or("service", default.service, service),
    };
    let is_alone = settings.otlp.is_none() && (s.has("sample") || s.has("service"));
    if is_alone {
        s.warn(
            s.span(),
            "nothing is traced without otlp; write otlp: http://127.0.0.1:4318",
        );
    }
    settings
}

fn service(text: &str) -> Result<String, String> {
    let is_plain = text.bytes().all(|b| (b' '..=b'~').contains(&b));
    match is_plain && !text.trim().is_empty() {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no name; write printable ASCII, like lakh"
        )),
    }
}

/// As OTLP has it, a URL without a path is where all signals go, each below a path of its own.
fn collector(text: &str) -> Result<String, String> {
    let example = "write it like http://127.0.0.1:4318";
    let url: Uri = match text.parse() {
        Ok(url) => url,
        Err(_) => return Err(format!("`{text}` is not a URL; {example}")),
    };
    let (scheme, host) = (url.scheme_str(), url.host().filter(|host| !host.is_empty()));
    if !matches!(scheme, Some("http" | "https")) || host.is_none() {
        return Err(format!(
            "`{text}` is not an http:// or https:// URL; {example}"
        ));
    }
    if url.port_u16() == Some(GRPC) {
        return Err(format!(
            "`{text}` is where collectors speak gRPC; write the port of OTLP over HTTP, mostly 4318"
        ));
    }
    Ok(match url.path() {
        "" | "/" => format!("{}/v1/traces", text.trim_end_matches('/')),
        _ => text.to_owned(),
    })
}
