//! Where a source is, as a path form names it.

use super::AskError;
use super::text::sendable;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// Path and query on the host that was asked.
    Here(String),
    Elsewhere(Place),
}

/// On another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub https: bool,
    /// In lower case, with the port if there is one.
    pub host: String,
    /// Path and query.
    pub target: String,
}

impl Default for Source {
    fn default() -> Self {
        Self::Here("/".to_owned())
    }
}

impl Source {
    /// A path with or without a slash before it, or an absolute URL. One on the host that was asked
    /// is here. `local:///` is imgproxy's word for its own files.
    pub(super) fn read(text: &str, asked: &str) -> Result<Self, AskError> {
        let text = text.strip_prefix("local://").unwrap_or(text);
        let (https, rest) = match scheme(text) {
            None => return here(text),
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some(_) => {
                return Err(AskError::Source(
                    "the source must be a path, or begin with http:// or https://",
                ));
            }
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, target) = rest.split_at(end);
        if !is_host(host) {
            return Err(AskError::Source("the source's host can't be read"));
        }
        if host.eq_ignore_ascii_case(asked) {
            return here(target);
        }
        Ok(Self::Elsewhere(Place {
            https,
            host: host.to_ascii_lowercase(),
            target: sendable(&slashed(target)),
        }))
    }
}

/// What stands before `://`, in any case; some senders merge the slashes of a path.
fn scheme(text: &str) -> Option<(&'static str, &str)> {
    let (word, rest) = text.split_once(":/")?;
    let is_word = !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+');
    let known = match word.to_ascii_lowercase().as_str() {
        "http" => "http",
        "https" => "https",
        _ => "",
    };
    is_word.then(|| (known, rest.strip_prefix('/').unwrap_or(rest)))
}

fn here(text: &str) -> Result<Source, AskError> {
    Ok(Source::Here(sendable(&slashed(text))))
}

fn slashed(target: &str) -> String {
    match target.starts_with('/') {
        true => target.to_owned(),
        false => format!("/{target}"),
    }
}

/// A name or an address, perhaps with a port; no user.
fn is_host(host: &str) -> bool {
    let is_part = |b: u8| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b);
    !host.is_empty() && host.len() <= 255 && host.bytes().all(is_part)
}
