//! `access_log`: where to, and how much of it.

use super::closest::did_you_mean;
use super::section::Section;
use super::units::share;
use crate::observe::{AccessLogSettings, LogTarget};
use std::path::{Path, PathBuf};

pub fn read(s: &mut Section<'_>) -> AccessLogSettings {
    s.unsupported_but("format", &["json"]);
    s.unsupported(&["redact"]);
    let default = AccessLogSettings::default();
    AccessLogSettings {
        to: s.or("to", default.to, target),
        sample: s.or("sample", default.sample, share),
    }
}

/// A path has a `/` in it, so that a mistyped `stdout` doesn't become a file of that name.
fn target(text: &str) -> Result<LogTarget, String> {
    match text {
        "stdout" => Ok(LogTarget::Stdout),
        "none" => Ok(LogTarget::None),
        _ if text.contains('/') => file(text),
        _ => Err(format!(
            "`{text}` is neither stdout nor none nor a path{}",
            did_you_mean(text, ["stdout", "none"], || format!(
                "; write ./{text} for a file"
            ))
        )),
    }
}

fn file(text: &str) -> Result<LogTarget, String> {
    let path = Path::new(text);
    let folder = path.parent().unwrap_or(path);
    if text.ends_with('/') || path.is_dir() {
        return Err(format!("`{text}` is a folder; write a file in it"));
    }
    match folder.is_dir() {
        true => Ok(LogTarget::File(PathBuf::from(text))),
        false => Err(format!(
            "the folder `{}` does not exist; make it, or write another path",
            folder.display()
        )),
    }
}
