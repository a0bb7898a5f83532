//! What `conf/reference.yaml` says of each key: for people there, for editors through the schema.
//! It is read as it is, with what is a comment there only because one file can't have all of it.

use super::diagnostic::Report;
use super::outline::{Key, Shape};
use super::tree::{self, Entry, Node, Value};
use serde_json::json;
use std::collections::BTreeMap;

pub const TEXT: &str = include_str!("../../conf/reference.yaml");

/// What stands behind a key.
#[derive(Debug, Default)]
pub struct Note {
    pub meaning: String,
    /// Where the value there is what one gets without the key.
    pub default: Option<serde_json::Value>,
}

/// By the keys' paths. The second: paths in the reference that no reader asks for.
pub fn notes(keys: &[Key]) -> (BTreeMap<String, Note>, Vec<String>) {
    let text = uncommented(TEXT);
    let mut reader = Reader {
        shapes: keys.iter().map(|key| (&*key.path, &*key.shapes)).collect(),
        lines: text.lines().collect(),
        notes: BTreeMap::new(),
        strangers: Vec::new(),
    };
    if let Some(root) = tree::parse(0, &text, &|_| None, &Report::default()) {
        reader.section(&root, "");
    }
    (reader.notes, reader.strangers)
}

/// With the keys that are comments: `# key:` and `# - key:`, but for prose.
fn uncommented(text: &str) -> String {
    let line = |line: &str| {
        let rest = line.trim_start();
        let key = rest.strip_prefix("# ").map(str::trim_start);
        let key = key.map(|key| key.strip_prefix("- ").unwrap_or(key));
        let is_key = key
            .and_then(|key| key.split_once(':'))
            .is_some_and(|(key, after)| {
                let is_part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                key.chars().all(is_part) && (after.is_empty() || after.starts_with(' '))
            });
        match is_key {
            true => line.replacen("# ", "", 1) + "\n",
            false => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

struct Reader<'a> {
    shapes: BTreeMap<&'a str, &'a [Shape]>,
    lines: Vec<&'a str>,
    notes: BTreeMap<String, Note>,
    strangers: Vec<String>,
}

impl Reader<'_> {
    fn section(&mut self, node: &Node, path: &str) {
        let Value::Map(entries) = &node.value else {
            return;
        };
        for entry in entries {
            let path = match path {
                "" => entry.key.clone(),
                _ => format!("{path}.{}", entry.key),
            };
            let Some(shapes) = self.shapes.get(&*path).copied() else {
                self.strangers.push(path);
                continue;
            };
            self.note(&path, entry);
            shapes
                .iter()
                .for_each(|shape| self.inner(shape, &entry.node, &path));
        }
    }

    fn inner(&mut self, shape: &Shape, node: &Node, path: &str) {
        match (shape, &node.value) {
            (Shape::Settings | Shape::Section, _) => self.section(node, path),
            (Shape::Named, Value::Map(named)) => {
                let path = format!("{path}.*");
                named
                    .iter()
                    .for_each(|entry| self.section(&entry.node, &path));
            }
            (Shape::Items, Value::List(items)) => {
                let path = format!("{path}[]");
                items.iter().for_each(|item| self.section(item, &path));
            }
            _ => {}
        }
    }

    /// The first that says something.
    fn note(&mut self, path: &str, entry: &Entry) {
        let note = self.notes.entry(path.to_owned()).or_default();
        if !note.meaning.is_empty() {
            return;
        }
        let index = entry.key_span.line - 1;
        let line = self.lines[index];
        let said = line.find(" #").map_or("", |at| &line[at + 2..]).trim();
        let more = self.lines[index + 1..].iter().map(|line| line.trim_start());
        let more = more.take_while(|line| line.starts_with('#'));
        let more = more.map(|line| line.trim_matches(['#', ' ']));
        let is_default = said.starts_with("(default)");
        let said = said.strip_prefix("(default)").unwrap_or(said).trim();
        let said: Vec<&str> = [said].into_iter().chain(more).collect();
        // Only what stands alone on its line is what the line calls a default.
        let leads = line.trim_start_matches([' ', '-']).starts_with(&entry.key);
        note.meaning = said.join(" ").trim_matches([' ', '|']).to_owned();
        note.default = Some(&entry.node)
            .filter(|_| is_default && leads)
            .and_then(value);
    }
}

/// As JSON; none where it means that the key isn't there.
fn value(node: &Node) -> Option<serde_json::Value> {
    match &node.value {
        Value::Text(text) => Some(match text.parse::<u64>() {
            Ok(number) => json!(number),
            Err(_) if text == "true" || text == "false" => json!(text == "true"),
            Err(_) => json!(text),
        }),
        Value::List(items) => Some(items.iter().filter_map(value).collect()),
        Value::Map(entries) => {
            let pairs = entries
                .iter()
                .filter_map(|e| Some((e.key.clone(), value(&e.node)?)));
            Some(serde_json::Value::Object(pairs.collect()))
        }
        Value::Nothing | Value::Null | Value::Broken => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Span, outline, parse};
    use super::*;

    #[test]
    fn the_reference_has_every_key_with_its_meaning_and_no_other() {
        let keys = outline();
        assert!(keys.len() > 150, "only {} keys", keys.len());
        let (notes, strangers) = notes(&keys);
        assert_eq!(strangers, Vec::<String>::new(), "keys that nobody reads");
        let lacks = |key: &&Key| {
            notes
                .get(&key.path)
                .is_none_or(|note| note.meaning.is_empty())
        };
        let lacking: Vec<&str> = keys.iter().filter(lacks).map(|key| &*key.path).collect();
        assert_eq!(
            lacking,
            Vec::<&str>::new(),
            "not explained in conf/reference.yaml"
        );
    }

    /// Whatever is written there, something else in its place is another configuration, or an error.
    #[test]
    fn no_value_of_the_reference_goes_unnoticed() {
        let whole = load(TEXT).expect("the reference loads");
        let root = tree::parse(0, TEXT, &|_| None, &Report::default()).expect("it is YAML");
        let mut places = Vec::new();
        collect(&root, &mut places);
        assert!(places.len() > 200, "only {} values", places.len());
        for span in places {
            let lines = TEXT.lines().enumerate().map(|(index, line)| {
                if index + 1 != span.line {
                    return format!("{line}\n");
                }
                let (before, rest) = line.split_at(span.column - 1);
                format!("{before}\"?\"{}\n", &rest[span.width..])
            });
            if let Some(changed) = load(&lines.collect::<String>()) {
                let line = TEXT.lines().nth(span.line - 1).unwrap_or_default();
                assert_ne!(changed, whole, "column {} of: {line}", span.column);
            }
        }
    }

    fn load(text: &str) -> Option<super::super::Config> {
        let loaded = parse(text, "reference.yaml", &|_| None);
        loaded.ok().map(|loaded| loaded.config)
    }

    fn collect(node: &Node, places: &mut Vec<Span>) {
        match &node.value {
            Value::Text(_) | Value::Null => places.push(node.span),
            Value::List(items) => items.iter().for_each(|item| collect(item, places)),
            Value::Map(entries) => entries.iter().for_each(|e| collect(&e.node, places)),
            Value::Nothing | Value::Broken => {}
        }
    }
}
