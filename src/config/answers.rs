//! What a route says to browsers, and says while it is being worked on: `cors`, `security_headers`,
//! `maintenance`.

use super::MaintenanceSettings;
use super::matching::{is_label, method};
use super::refusal::Refusal;
use super::section::Section;
use super::units::{seconds, wait};
use super::values::{choice, header_name, network, readable_file, switch};
use crate::guard::{CorsSettings, Origin, SecurityHeaders};
use http::Method;
use std::time::Duration;

const MAX_AGE: Duration = Duration::from_secs(600);
const RETRY_AFTER: Duration = Duration::from_secs(300);

pub fn security_headers(text: &str) -> Result<SecurityHeaders, Refusal> {
    choice(&[
        ("none", SecurityHeaders::None),
        ("strict", SecurityHeaders::Strict),
    ])(text)
}

/// Where calls of pages are bridged, they read also what a call came to.
pub fn cors(s: &mut Section<'_>, grpc_web: bool) -> Option<CorsSettings> {
    s.at_least_one("origins", "[\"https://shop.example\"]");
    let mut settings = CorsSettings {
        origins: s.list("origins", origin),
        methods: s.list_or(
            "methods",
            vec![Method::GET, Method::HEAD, Method::POST],
            method,
        ),
        credentials: s.or("credentials", false, switch),
        max_age: s.or("max_age", MAX_AGE, seconds),
        headers: s.has("headers").then(|| s.list("headers", header_name)),
        expose: s.list("expose", header_name),
    };
    if settings.headers.is_none() {
        // `null` is known too.
        s.list("headers", header_name);
    }
    if grpc_web {
        settings.expose.extend(crate::grpc::EXPOSED);
    }
    if settings.credentials && settings.origins.contains(&Origin::Any) {
        s.error(
            "credentials",
            "with `*` among the origins, every site could act as your users; name the origins",
        );
    }
    Some(settings)
}

/// `https://shop.example`, `https://*.shop.example`, or `*`.
fn origin(text: &str) -> Result<Origin, String> {
    if text == "*" {
        return Ok(Origin::Any);
    }
    let wrong = || {
        format!(
            "`{text}` is not an origin; write it like https://shop.example or https://*.shop.example"
        )
    };
    let lower = text.to_ascii_lowercase();
    let (scheme, authority) = lower.split_once("://").ok_or_else(wrong)?;
    if let Some((before, _)) = authority.split_once('/') {
        return Err(format!(
            "`{text}` is more than an origin; write {scheme}://{before}"
        ));
    }
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if port.parse::<u16>().is_ok() => (host, Some(port)),
        _ => (authority, None),
    };
    if let ("https", Some("443")) | ("http", Some("80")) = (scheme, port) {
        return Err(format!(
            "`{text}`: browsers leave this port out; write {scheme}://{host}"
        ));
    }
    let name = host.strip_prefix("*.").unwrap_or(host);
    let is_v6 = name.starts_with('[') && name.ends_with(']');
    if scheme.is_empty() || !(is_v6 || name.split('.').all(is_label)) {
        return Err(wrong());
    }
    match lower.split_once('*') {
        Some((before, after)) => Ok(Origin::Below(before.to_owned(), after.to_owned())),
        None => Ok(Origin::Is(lower)),
    }
}

/// `true`, or what is to be said.
pub fn maintenance(s: &mut Section<'_>) -> Option<MaintenanceSettings> {
    if s.is_map("maintenance") {
        return s.section("maintenance", |s| {
            Some(MaintenanceSettings {
                retry_after: s.or("retry_after", RETRY_AFTER, wait),
                allow: s.list("allow", network),
                page: s.optional("page", readable_file),
            })
        });
    }
    s.or("maintenance", false, switch)
        .then(|| MaintenanceSettings {
            retry_after: RETRY_AFTER,
            allow: Vec::new(),
            page: None,
        })
}
