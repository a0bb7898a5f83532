//! Where no token is asked for, who may talk to the admin listener: whoever is on this machine, and no
//! page that their browser shows. A name of such a page can be led here once it is loaded (DNS
//! rebinding), and to the browser it is then of the same origin; but its name stays in Host.

use super::answers::{Answer, problem};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::net::{IpAddr, Ipv6Addr};

/// As which verbs of the command line ask.
const COMMAND_LINE: &str = "lakh";

/// What a page is answered.
pub fn refusal(fields: &HeaderMap) -> Option<Answer> {
    let status = StatusCode::FORBIDDEN;
    // Browsers always send it.
    let host = fields.get(HOST)?;
    if !is_of_this_machine(host) {
        let detail = "Without a token, this is for hosts by IP address and localhost alone: any page \
                      on the web could have its name lead here. Ask http://127.0.0.1 with this port, \
                      or set admin.token_file.";
        return Some(problem(status, "host-refused", detail));
    }
    if let Some(origin) = fields.get(ORIGIN)
        && !is_of(origin, host)
    {
        let detail = "Without a token, pages of other origins give no orders here: set \
                      admin.token_file, or ask without Origin.";
        return Some(problem(status, "origin-refused", detail));
    }
    None
}

fn is_of_this_machine(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else {
        return false;
    };
    if let Some(v6) = host.strip_prefix('[') {
        let (ip, port) = v6.split_once(']').unwrap_or(("", ""));
        return ip.parse::<Ipv6Addr>().is_ok() && (port.is_empty() || port.starts_with(':'));
    }
    let name = host.split_once(':').map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || name.eq_ignore_ascii_case(COMMAND_LINE)
        || name.parse::<IpAddr>().is_ok()
}

/// `http://localhost:9900` is of `localhost:9900`; `null` is of nobody.
fn is_of(origin: &HeaderValue, host: &HeaderValue) -> bool {
    let origin = origin.to_str().ok();
    let authority = origin.and_then(|origin| Some(origin.split_once("://")?.1));
    authority.is_some_and(|authority| authority.as_bytes().eq_ignore_ascii_case(host.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(host: Option<&'static str>, origin: Option<&'static str>) -> bool {
        let mut fields = HeaderMap::new();
        let all = [(HOST, host), (ORIGIN, origin)];
        for (name, value) in all.into_iter().filter_map(|(n, v)| Some((n, v?))) {
            fields.insert(name, HeaderValue::from_static(value));
        }
        refusal(&fields).is_none()
    }

    #[test]
    fn hosts_that_no_page_can_have_for_its_name() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9900",
            "10.0.0.7:9900",
            "[::1]",
            "[::1]:9900",
            "localhost",
            "LocalHost:9900",
            "lakh",
        ] {
            assert!(takes(Some(host), None), "{host}");
        }
        assert!(takes(None, None));
        for host in [
            "",
            "evil.example",
            "evil.example:9900",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "[::1].evil.example",
            "[evil.example]",
            "lakh.evil.example",
        ] {
            assert!(!takes(Some(host), None), "{host}");
        }
    }

    #[test]
    fn origins_are_the_host() {
        let host = Some("localhost:9900");
        assert!(takes(host, Some("http://localhost:9900")));
        assert!(takes(Some("[::1]:9900"), Some("http://[::1]:9900")));
        for origin in [
            "null",
            "",
            "http://evil.example",
            "http://localhost",
            "http://localhost:3000",
            "localhost:9900",
        ] {
            assert!(!takes(host, Some(origin)), "{origin}");
        }
    }
}
