//! `lakh sign-url`: an image's URL with the signature that `images.signing_key_file` asks for.

use crate::config;
use lakh_image::Keys;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// `url`: path and query, or a whole URL; of imgproxy's form the path without its signature.
pub fn sign_url(path: &Path, url: &str, length: Option<Duration>, imgproxy: bool) -> ExitCode {
    match keys(path).and_then(|keys| signed(&keys, url, length, imgproxy)) {
        Ok(url) => {
            println!("{url}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("lakh: {why}");
            ExitCode::FAILURE
        }
    }
}

fn keys(path: &Path) -> Result<Keys, String> {
    let loaded = config::load(path, &config::environment).map_err(|errors| errors.to_string())?;
    let keys = loaded.config.images.signing;
    keys.ok_or_else(|| format!("{} has no images.signing_key_file", path.display()))
}

fn signed(
    keys: &Keys,
    url: &str,
    length: Option<Duration>,
    imgproxy: bool,
) -> Result<String, String> {
    let (origin, target) = split(url)?;
    let end = length.map(|length| {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.map_or(0, |now| (now + length).as_secs())
    });
    if imgproxy {
        let expires = end.map_or(String::new(), |end| format!("/exp:{end}"));
        let message = format!("{expires}{target}");
        return Ok(format!("{origin}/{}{message}", keys.sign(&message)));
    }
    let mut message = target.to_owned();
    if let Some(end) = end {
        message = format!("{message}{}e={end}", mark(&message));
    }
    let signature = keys.sign(&message);
    Ok(format!("{origin}{message}{}s={signature}", mark(&message)))
}

fn mark(target: &str) -> char {
    if target.contains('?') { '&' } else { '?' }
}

/// What comes before the path, and the rest: only that is signed.
fn split(url: &str) -> Result<(&str, &str), String> {
    let host = url.find("://").map_or(0, |at| at + 3);
    match url[host..].find('/') {
        Some(0) | None if host > 0 => Err(format!("`{url}` has no path to sign")),
        Some(0) => Ok(("", url)),
        Some(at) if host > 0 => Ok(url.split_at(host + at)),
        _ => Err(format!("`{url}` begins with neither / nor http://")),
    }
}
