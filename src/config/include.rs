//! `include: [conf.d/*.yaml]`: other files' sections, as if they stood in this one.
//!
//! Sections are put together: names are added to names, items come after items, in the order of the
//! patterns and of the files' names. What is in two files is an error, and not whichever came last.

use super::diagnostic::{Report, Span};
use super::tree::{self, Entry, Node, Value};
use super::variables::Environment;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Of one file, in bytes.
const LARGEST: u64 = 16 << 20;
pub const KEY: &str = "include";

/// Adds to `root` what it includes. Patterns are relative to `folder`.
pub fn include(root: &mut Node, folder: &Path, environment: Environment<'_>, report: &Report) {
    for (pattern, span) in patterns(root) {
        let found = found(folder, &pattern).unwrap_or_else(|e| {
            report.error(
                span,
                format!("`{pattern}` is no pattern: {e}; write conf.d/*.yaml"),
            );
            Vec::new()
        });
        for path in found {
            let name = path.display().to_string();
            let text = match read(&path) {
                Ok(text) => text,
                Err(why) => {
                    report.error(span, format!("{name} cannot be read: {why}"));
                    continue;
                }
            };
            let text = text.trim_start_matches('\u{feff}');
            let file = report.add_file(&name, text);
            if let Some(other) = tree::parse(file, text, environment, report) {
                add(root, other, report);
            }
        }
    }
}

/// A file's path, when it was written, and how long it is; the last two of one that is there.
pub type Stamp = (PathBuf, Option<(SystemTime, u64)>);

/// Of a file and all that it includes by these patterns.
pub fn stamps(path: &Path, patterns: &[String]) -> Vec<Stamp> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let included = patterns
        .iter()
        .flat_map(|pattern| found(folder, pattern).unwrap_or_default());
    let stamp = |path: PathBuf| {
        let about = fs::metadata(&path).ok();
        let stamp = about.and_then(|about| Some((about.modified().ok()?, about.len())));
        (path, stamp)
    };
    [path.to_owned()]
        .into_iter()
        .chain(included)
        .map(stamp)
        .collect()
}

fn read(path: &Path) -> Result<String, String> {
    let about = fs::metadata(path).map_err(|e| e.to_string())?;
    if !about.is_file() || about.len() > LARGEST {
        return Err("it is no file, or a very large one".to_owned());
    }
    fs::read_to_string(path).map_err(|e| e.to_string())
}

/// Those that can't be read as text are left to the key's reader.
pub fn patterns(root: &Node) -> Vec<(String, Span)> {
    let Value::Map(entries) = &root.value else {
        return Vec::new();
    };
    let included = entries.iter().find(|entry| entry.key == KEY);
    let Some(Value::List(items)) = included.map(|entry| &entry.node.value) else {
        return Vec::new();
    };
    let text = |node: &Node| match &node.value {
        Value::Text(text) => Some((text.clone(), node.span)),
        _ => None,
    };
    items.iter().filter_map(text).collect()
}

/// A pattern may fit nothing; a plain path is there.
fn found(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, glob::PatternError> {
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![folder.join(pattern)]);
    }
    // What the folder is called is not part of the pattern.
    let folder = glob::Pattern::escape(&folder.display().to_string());
    let whole = match folder.is_empty() || pattern.starts_with('/') {
        true => pattern.to_owned(),
        false => format!("{folder}/{pattern}"),
    };
    let found = glob::glob(&whole)?.filter_map(Result::ok);
    Ok(found.filter(|path| path.is_file()).collect())
}

fn add(root: &mut Node, other: Node, report: &Report) {
    let entries = match other.value {
        Value::Map(entries) => entries,
        // Nothing but comments.
        Value::Nothing | Value::Null | Value::Broken => return,
        Value::Text(_) | Value::List(_) => {
            let message = "an included file has sections, like routes: […]";
            return report.error(other.span, message);
        }
    };
    let Value::Map(sections) = &mut root.value else {
        return;
    };
    for entry in entries {
        if entry.key == KEY {
            let message = "an included file includes no others; name them in the first file";
            report.error(entry.key_span, message);
            continue;
        }
        match sections.iter_mut().find(|section| section.key == entry.key) {
            Some(section) => join(section, entry, report),
            None => sections.push(entry),
        }
    }
}

/// Of one section in two files.
fn join(section: &mut Entry, other: Entry, report: &Report) {
    match (&mut section.node.value, other.node.value) {
        (Value::Nothing | Value::Null, value) => {
            section.node.value = value;
            section.node.span = other.node.span;
        }
        (_, Value::Nothing | Value::Null | Value::Broken) | (Value::Broken, _) => {}
        (Value::List(items), Value::List(more)) => items.extend(more),
        (Value::Map(entries), Value::Map(more)) => {
            for entry in more {
                match entries.iter().find(|known| known.key == entry.key) {
                    None => entries.push(entry),
                    Some(known) => report.error(entry.key_span, twice(&entry.key, known, report)),
                }
            }
        }
        _ => report.error(other.key_span, twice(&other.key, section, report)),
    }
}

fn twice(key: &str, first: &Entry, report: &Report) -> String {
    let place = report.place(first.key_span);
    format!("`{key}` is in {place} already; remove one")
}
