//! One value out of a file that may be wrong everywhere else: for verbs that only have to find a running
//! edge. Its file may have been damaged since, and its variables may be set for it alone.

use super::diagnostic::Report;
use super::include;
use super::refusal::Refusal;
use super::tree::{self, Entry, Node, Value};
use super::variables::Environment;
use std::path::Path;

/// A file and those that it includes, as far as they can be read.
pub struct Files {
    read: Vec<File>,
    /// Why the first of those that can't be read can't.
    unread: Option<String>,
}

struct File {
    root: Node,
    report: Report,
}

impl Files {
    /// Of what is not YAML as a whole, only `sections` are read.
    pub fn read(path: &Path, sections: &[&str], environment: Environment<'_>) -> Files {
        let mut files = Files {
            read: Vec::new(),
            unread: None,
        };
        files.add(path, sections, environment);
        let patterns = files.read.first().map(|main| include::patterns(&main.root));
        let patterns: Vec<_> = patterns
            .into_iter()
            .flatten()
            .map(|(pattern, _)| pattern)
            .collect();
        for (included, _) in include::stamps(path, &patterns).into_iter().skip(1) {
            files.add(&included, sections, environment);
        }
        files
    }

    fn add(&mut self, path: &Path, sections: &[&str], environment: Environment<'_>) {
        match File::read(path, sections, environment) {
            Ok(file) => self.read.push(file),
            Err(why) => self.unread = self.unread.take().or(Some(why)),
        }
    }

    /// None: no file has it, and all could be read.
    pub fn scalar<T, E: Into<Refusal>>(
        &self,
        section: &str,
        key: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Result<Option<T>, String> {
        for File { root, report } in &self.read {
            let Some(node) = value(root, section).and_then(|section| value(section, key)) else {
                continue;
            };
            let why = match &node.value {
                Value::Null => continue,
                Value::Text(text) => match parse(text) {
                    Ok(value) => return Ok(Some(value)),
                    Err(refusal) => refusal.into().into_why(),
                },
                Value::Broken => report.message_at(node.span).unwrap_or_default(),
                Value::Nothing | Value::List(_) | Value::Map(_) => "takes one value".to_owned(),
            };
            let place = report.place(node.span);
            return Err(format!("{place}: {section}.{key}: {why}"));
        }
        self.unread.clone().map_or(Ok(None), Err)
    }
}

impl File {
    fn read(path: &Path, sections: &[&str], environment: Environment<'_>) -> Result<File, String> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|e| format!("{name}: this file cannot be read: {e}"))?;
        let text = text.trim_start_matches('\u{feff}');
        let parse = |part: &str| {
            let report = Report::default();
            let number = report.add_file(&name, text);
            match tree::parse(number, part, environment, &report) {
                Some(root) => Ok(File { root, report }),
                None => Err(report.into_errors().to_string()),
            }
        };
        parse(text).or_else(|_| parse(&only(sections, text)))
    }
}

fn value<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else {
        return None;
    };
    let entry: &Entry = entries.iter().find(|entry| entry.key == key)?;
    Some(&entry.node)
}

/// These sections of what begins its sections at the left, and `include`; each on the lines that it is on.
fn only(sections: &[&str], text: &str) -> String {
    let mut kept = String::new();
    let mut is_wanted = false;
    for line in text.lines() {
        if line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let key = line.split(':').next().unwrap_or_default().trim_end();
            is_wanted = key == include::KEY || sections.contains(&key);
        }
        if is_wanted {
            kept += line;
        }
        kept.push('\n');
    }
    kept
}
