//! `acme`: whom certificates are ordered from, and where they are kept.

use super::Config;
use super::diagnostic::Report;
use super::section::Section;
use super::values::{choice, some_text};
use crate::acme::{AcmeSettings, Challenge, ExternalAccount, Secrets, Storage};
use crate::listen::tls::ticket_secrets;
use crate::upstream::Tls;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::Uri;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
const EXAMPLE: &str = "{contact: ops@shop.example, storage: /var/lib/lakh/acme}";

pub fn read(s: &mut Section<'_>) -> Option<AcmeSettings> {
    let contact = s.required("contact", "ops@shop.example", contact);
    let directory = s.or("directory", LETS_ENCRYPT.to_owned(), directory);
    let known = [
        ("http-01", Challenge::Http01),
        ("tls-alpn-01", Challenge::TlsAlpn01),
    ];
    let challenge = s.or("challenge", Challenge::Http01, choice(&known));
    let folder = s.required("storage", "/var/lib/lakh/acme", storage);
    let secrets = s.optional("secret_file", |file| ticket_secrets(Path::new(file)));
    check_secrets(s, folder.as_ref());
    let ca_file = s.optional("ca_file", |file| {
        let trusted = Tls::new(None).trusting(Path::new(file));
        trusted.map(|_| PathBuf::from(file))
    });
    let external_account = s.section("external_account", external_account);
    Some(AcmeSettings {
        contact: contact?,
        directory,
        challenge,
        storage: match folder? {
            Some(folder) => Storage::Folder(folder),
            None => Storage::Redis(Secrets(secrets?)),
        },
        ca_file,
        external_account,
    })
}

/// Whoever is to have certificates needs it, and nobody else. `ordered`: some certificate is.
pub fn check(s: &mut Section<'_>, config: &Config, ordered: bool, report: &Report) {
    if ordered {
        s.needed("acme", EXAMPLE);
    } else if s.has("acme") {
        let message = "acme: no certificate is ordered; write certificates: [{acme: [shop.example]}] in the tls of a listener";
        report.warn(s.key_span("acme"), message);
    }
    let by_http = |acme: &AcmeSettings| acme.challenge == Challenge::Http01;
    let is_answered = config.listeners.iter().any(|l| l.tls.is_none());
    if ordered && config.acme.as_ref().is_some_and(by_http) && !is_answered {
        let message = "acme: the authority asks without TLS (http-01), and there is no listener for that; write redirect_http: 0.0.0.0:80 beside tls, or challenge: tls-alpn-01 here";
        report.warn(s.key_span("acme"), message);
    }
}

/// `folder`: what storage says, where it says something.
fn check_secrets(s: &mut Section<'_>, folder: Option<&Option<PathBuf>>) {
    match folder {
        Some(None) if !s.has("secret_file") => s.error(
            "storage",
            "private keys are not to lie open in Redis; write secret_file: FILE beside it, with a line of `openssl rand -base64 48` in the file",
        ),
        Some(Some(_)) if s.has("secret_file") => s.error(
            "secret_file",
            "only what is kept in Redis is sealed; remove it, or write storage: redis",
        ),
        _ => {}
    }
}

fn external_account(s: &mut Section<'_>) -> Option<ExternalAccount> {
    let key_id = s.required("key_id", "ID", some_text);
    let key = s.required("hmac_key_file", "/etc/lakh/acme.hmac", hmac_key);
    Some(ExternalAccount {
        key_id: key_id?,
        key: Secrets(vec![key?]),
    })
}

fn contact(text: &str) -> Result<String, String> {
    if let Some(address) = text.strip_prefix("mailto:") {
        return Err(format!("`{text}` is a URL; write only {address}"));
    }
    let is_address = text.split_once('@').is_some_and(|(name, host)| {
        let is_plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_graphic());
        is_plain(name) && is_plain(host) && !host.contains('@')
    });
    match is_address {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` is no address of e-mail; write it like ops@shop.example"
        )),
    }
}

fn directory(text: &str) -> Result<String, String> {
    let wrong = || format!("`{text}` is not a URL; write it like {LETS_ENCRYPT}");
    let url: Uri = text.parse().map_err(|_| wrong())?;
    let host = url.host().filter(|host| !host.is_empty());
    let host = host.ok_or_else(wrong)?;
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    let is_local = host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    match url.scheme_str() {
        Some("https") => Ok(text.to_owned()),
        Some("http") if is_local => Ok(text.to_owned()),
        Some("http") => Err(format!(
            "`{text}`: without TLS, anybody on the way could take the authority's place; write https://"
        )),
        _ => Err(wrong()),
    }
}

/// None: Redis. A path has a `/` in it, so that a mistyped `redis` doesn't become a folder of that name.
fn storage(text: &str) -> Result<Option<PathBuf>, String> {
    match text {
        "redis" => Ok(None),
        path if path.contains('/') => Ok(Some(PathBuf::from(path))),
        _ => Err(format!(
            "`{text}` is neither redis nor a folder's path; write it like /var/lib/lakh/acme, or ./{text}"
        )),
    }
}

/// As authorities give it.
fn hmac_key(file: &str) -> Result<Box<[u8]>, String> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("`{file}` cannot be read: {error}; write a file's path"))?;
    let key = URL_SAFE_NO_PAD.decode(text.trim().trim_end_matches('='));
    match key {
        Ok(key) if !key.is_empty() => Ok(key.into()),
        _ => Err(format!(
            "`{file}` has no key in base64url in it; put the one into it that the authority gives"
        )),
    }
}
