//! `access_log`: where to, how, and how much of it.

use super::closest::did_you_mean;
use super::section::Section;
use super::units::{share, wait};
use super::values::{choice, header_name, switch};
use crate::observe::{AccessLogSettings, LogFormat, LogTarget, Redact, Redaction};
use std::path::{Path, PathBuf};

pub fn read(s: &mut Section<'_>) -> AccessLogSettings {
    let default = AccessLogSettings::default();
    let mut settings = AccessLogSettings {
        to: s.or("to", default.to, target),
        format: s.or("format", default.format, format),
        sample: s.or("sample", default.sample, share),
        slow: s.or("slow", default.slow, wait),
        query: s.or("query", default.query, switch),
        redact: default.redact,
        truncate: s.or(
            "addresses",
            default.truncate,
            choice(&[("whole", false), ("truncated", true)]),
        ),
    };
    let named = s.list("redact", redact);
    if s.has("redact") {
        settings.redact = Redaction(named);
    }
    let fields = s.list("headers", header_name);
    match &mut settings.format {
        LogFormat::Json(headers) => *headers = fields,
        LogFormat::Template(_) if s.has("headers") && !fields.is_empty() => s.refuse(
            "headers",
            "it is for format: json; write {header:NAME} into the template",
        ),
        LogFormat::Template(_) => {}
    }
    settings
}

/// What has braces is a template.
fn format(text: &str) -> Result<LogFormat, String> {
    match text {
        "json" => Ok(LogFormat::Json(Vec::new())),
        "common" => Ok(LogFormat::common()),
        "combined" => Ok(LogFormat::combined()),
        _ if text.contains('{') => LogFormat::template(text).map_err(|wrong| no_template(&wrong)),
        _ => {
            let advice = did_you_mean(text, ["json", "common", "combined"], || {
                "; write json, common, combined, or a template like \"{client} {path} {status}\""
                    .into()
            });
            Err(format!("`{text}` is not known{advice}"))
        }
    }
}

fn no_template(wrong: &str) -> String {
    match wrong.starts_with(['{', '}']) {
        true => format!(
            "at `{wrong}`: braces belong to a field, like {{path}}; write {{{{ or }}}} for one that is text"
        ),
        false => {
            let advice = did_you_mean(wrong, LogFormat::fields(), || {
                let fields: Vec<_> = LogFormat::fields().collect();
                format!("; write header:NAME or one of {}", fields.join(", "))
            });
            format!("`{wrong}` is not a field{advice}")
        }
    }
}

/// A field's name, or `query:KEY`.
fn redact(text: &str) -> Result<Redact, String> {
    match text.strip_prefix("query:") {
        Some("") => Err(format!("`{text}` names no key; write query:KEY")),
        Some(key) => Ok(Redact::Query(key.to_owned())),
        None => {
            let name = text.strip_prefix("header:").unwrap_or(text);
            header_name(name).map(Redact::Field)
        }
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
