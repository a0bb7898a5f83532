//! The file as written: a tree of values, each with its place. Variables are expanded here, so
//! that no reader can forget them.
//!
//! Scalars stay text: whether `10` is a count or lacks a unit is for the key's reader to say.

use super::diagnostic::{Report, Span};
use super::variables::{Environment, expand};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::options::{DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Location, Options, Spanned};
use std::fmt;

pub struct Node {
    pub span: Span,
    pub value: Value,
}

pub enum Value {
    /// `key:` and nothing after it.
    Nothing,
    /// `null`, `~`: as if the key weren't there.
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// Already reported; a reader goes on without another word.
    Broken,
}

pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

/// Deeper than any section is, and shallow enough for the stack of any thread.
const MAX_DEPTH: usize = 24;

/// `file` is the number that the report has for it. None: not YAML, and reported.
pub fn parse(
    file: usize,
    text: &str,
    environment: Environment<'_>,
    report: &Report,
) -> Option<Node> {
    let planter = Planter {
        file,
        text,
        environment,
        report,
    };
    match parse_raw(text, DuplicateKeyPolicy::Error) {
        Ok(raw) => Some(planter.plant(raw)),
        Err(serde_saphyr::Error::DuplicateMappingKey { location, .. }) => {
            planter.go_on_after_duplicate(location)
        }
        Err(error) => planter.refuse(&error),
    }
}

fn parse_raw(
    text: &str,
    duplicate_keys: DuplicateKeyPolicy,
) -> Result<Spanned<Raw>, serde_saphyr::Error> {
    let options: Options = serde_saphyr::options! {
        duplicate_keys: duplicate_keys,
        with_snippet: false,
        emit_comments: false,
        reject_unsupported_tags: true,
        non_finite_float_policy: NonFiniteFloatPolicy::AsString,
        budget: serde_saphyr::budget! { max_depth: MAX_DEPTH },
    };
    serde_saphyr::from_str_with_options(text, options)
}

/// What serde sees of a value. Resolved scalars (`10`, `yes`) are read again from the source,
/// because serde only tells what they resolve to.
enum Raw {
    Null,
    Resolved,
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

/// Turns raw values into nodes.
struct Planter<'a> {
    file: usize,
    text: &'a str,
    environment: Environment<'a>,
    report: &'a Report,
}

impl Planter<'_> {
    fn plant(&self, raw: Spanned<Raw>) -> Node {
        let span = self.span(raw.referenced);
        let value = match raw.value {
            Raw::Null if self.source(raw.defined).is_empty() => Value::Nothing,
            Raw::Null => Value::Null,
            Raw::Resolved => self.expanded(span, self.source(raw.defined)),
            Raw::Text(text) => self.expanded(span, &text),
            Raw::List(items) => Value::List(items.into_iter().map(|i| self.plant(i)).collect()),
            Raw::Map(pairs) => {
                let pairs = pairs.into_iter();
                Value::Map(pairs.filter_map(|(k, v)| self.entry(k, v)).collect())
            }
        };
        Node { span, value }
    }

    fn entry(&self, key: Spanned<Raw>, value: Spanned<Raw>) -> Option<Entry> {
        let key_span = self.span(key.referenced);
        let key = match key.value {
            Raw::Text(text) => text,
            Raw::Resolved => self.source(key.defined).to_owned(),
            Raw::Null | Raw::List(_) | Raw::Map(_) => {
                self.report
                    .error(key_span, "a key must be a name; write `name: value`");
                return None;
            }
        };
        Some(Entry {
            key,
            key_span,
            node: self.plant(value),
        })
    }

    fn expanded(&self, span: Span, text: &str) -> Value {
        match expand(text, self.environment) {
            Ok(Some(text)) => Value::Text(text),
            Ok(None) => Value::Null,
            Err(message) => {
                self.report.error(span, message);
                Value::Broken
            }
        }
    }

    fn source(&self, location: Location) -> &str {
        let span = location.span();
        let bytes = span.byte_offset().zip(span.byte_len());
        let range = bytes.map(|(start, len)| start as usize..(start + len) as usize);
        range.and_then(|r| self.text.get(r)).unwrap_or_default()
    }

    /// At least one character wide; of what spans lines, the first one.
    fn span(&self, location: Location) -> Span {
        let first_line = self.source(location).lines().next().unwrap_or_default();
        Span {
            file: self.file,
            line: (location.line() as usize).max(1),
            column: (location.column() as usize).max(1),
            width: first_line.trim_end().chars().count().max(1),
        }
    }

    /// Reports the second of two keys, and reads the file with the first, so that all else that
    /// is wrong is reported too.
    fn go_on_after_duplicate(&self, location: Location) -> Option<Node> {
        let span = self.span(location);
        let key = self.source(location);
        let root = match parse_raw(self.text, DuplicateKeyPolicy::FirstWins) {
            Ok(raw) => self.plant(raw),
            Err(error) => return self.refuse(&error),
        };
        let first = first_of(&root, key, span).map_or(String::new(), |line| {
            format!(": it is on line {line} already")
        });
        self.report
            .error(span, format!("duplicate key `{key}`{first}; remove one"));
        Some(root)
    }

    fn refuse(&self, error: &serde_saphyr::Error) -> Option<Node> {
        let location = error.location().unwrap_or(Location::UNKNOWN);
        let mut span = self.span(location);
        if matches!(error, serde_saphyr::Error::MultipleDocuments { .. }) {
            span = self.separator_before(span);
        }
        let line = self.text.lines().nth(span.line - 1).unwrap_or_default();
        self.report.error(span, syntax_message(error, line));
        None
    }

    /// The `---` that begins the document at `span`.
    fn separator_before(&self, span: Span) -> Span {
        let lines = self.text.lines().take(span.line).enumerate();
        let separator = lines.filter(|(_, line)| line.starts_with("---")).last();
        separator.map_or(span, |(index, _)| Span {
            file: self.file,
            line: index + 1,
            column: 1,
            width: 3,
        })
    }
}

/// The line of the key that `duplicate` repeats: the last one before it in the same column, since
/// whatever stands between the two is inside the first one's value and so further right. In a
/// flow map (`{a: 1, a: 2}`) columns tell nothing and the last one before it is taken.
fn first_of(root: &Node, key: &str, duplicate: Span) -> Option<usize> {
    let mut spans = Vec::new();
    collect_keys(root, key, &mut spans);
    spans.retain(|span| *span < duplicate);
    spans.sort();
    let same_column = spans.iter().rfind(|s| s.column == duplicate.column);
    same_column.or(spans.last()).map(|span| span.line)
}

fn collect_keys(node: &Node, key: &str, found: &mut Vec<Span>) {
    match &node.value {
        Value::List(items) => items.iter().for_each(|i| collect_keys(i, key, found)),
        Value::Map(entries) => {
            for entry in entries {
                if entry.key == key {
                    found.push(entry.key_span);
                }
                collect_keys(&entry.node, key, found);
            }
        }
        _ => {}
    }
}

/// What the parser says, and what most likely has to be written.
fn syntax_message(error: &serde_saphyr::Error, line: &str) -> String {
    let problem = without_place(error);
    match error.without_snippet() {
        serde_saphyr::Error::MultipleDocuments { .. } => {
            return "a configuration is one document; remove this `---` and what doesn't belong"
                .into();
        }
        serde_saphyr::Error::Budget { .. } => {
            return format!(
                "this file is nested too deeply, or repeats too much with aliases ({problem})"
            );
        }
        _ => {}
    }
    let advice = if problem.contains("tabs") {
        "indent with spaces"
    } else if problem.contains("unsupported tag") {
        "remove it, or put the text in quotes"
    } else if problem.contains("unknown anchor") {
        "text that begins with `*` must be in quotes, like \"*.shop.example\""
    } else if problem.contains("unexpected character") {
        "put the text in quotes"
    } else if problem.contains("flow") && line.contains("${") {
        "inside [ ] and { }, put text with ${NAME} in quotes"
    } else if problem.contains("flow") {
        "look for a missing comma, `]` or `}`"
    } else if problem.contains("quoted scalar") {
        "look for a missing quote"
    } else if problem.contains("mapping values are not allowed") {
        "put text with `: ` in it in quotes, or look at the indentation"
    } else if problem.contains("block") {
        "look at the indentation: keys of one section begin in the same column"
    } else {
        return format!("not valid YAML: {problem}");
    };
    format!("not valid YAML: {problem}; {advice}")
}

/// The parser ends its messages with the place, which is shown anyway.
fn without_place(error: &serde_saphyr::Error) -> String {
    let message = error.without_snippet().to_string();
    match message.rfind(" at line ") {
        Some(end) => message[..end].to_owned(),
        None => message,
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Raw, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text, a list, or keys with values")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Raw, E> {
        Ok(Raw::Resolved)
    }

    fn visit_str<E>(self, text: &str) -> Result<Raw, E> {
        Ok(Raw::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Raw::Map(pairs))
    }
}
