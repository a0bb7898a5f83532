//! A section of the file: keys that a reader asks for one by one.
//!
//! Asking for a key is what makes it known: after a reader is through, what nobody asked for is
//! an unknown key. So a new key is one line in its section's reader. A reader never stops at a
//! mistake: it gets a stand-in, or nothing, and the report has the reason.

mod known;
mod nested;
mod verdict;

pub use nested::{read_nothing, read_root};

use super::diagnostic::{Report, Span};
use super::outline::Shape;
use super::refusal::{Refusal, Wanted, wanted};
use super::tree::{Entry, Node, Value};

pub struct Section<'a> {
    /// As an operator would say it: `upstreams.app.timeouts`. Empty for the file itself.
    path: String,
    span: Span,
    entries: &'a [Entry],
    /// Keys asked for.
    known: Vec<&'static str>,
    /// Keys that were reported in another way than as unknown.
    settled: Vec<&'static str>,
    missing: Vec<Missing>,
    report: &'a Report,
}

struct Missing {
    key: &'static str,
    message: String,
}

impl<'a> Section<'a> {
    /// The key's value, or `default` if it isn't there.
    pub fn or<T, E: Into<Refusal>>(
        &mut self,
        key: &'static str,
        default: T,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> T {
        self.optional(key, parse).unwrap_or(default)
    }

    pub fn optional<T, E: Into<Refusal>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.note(key, Shape::One, &parse);
        let node = self.find(key)?;
        self.scalar(key, node, parse)
    }

    /// `example` is what to write if it isn't there.
    pub fn required<T, E: Into<Refusal>>(
        &mut self,
        key: &'static str,
        example: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.note(key, Shape::One, &parse);
        self.note_required(key);
        match self.find(key) {
            Some(node) => self.scalar(key, node, parse),
            None => {
                self.miss(key, example);
                None
            }
        }
    }

    /// `[a, b]`; empty if it isn't there.
    pub fn list<T, E: Into<Refusal>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        self.note(key, Shape::List, &parse);
        match self.find(key) {
            Some(node) => self.scalars(key, node, parse),
            None => Vec::new(),
        }
    }

    /// `[a, b]` with at least one item, or `default` if it isn't there.
    pub fn list_or<T, E: Into<Refusal>>(
        &mut self,
        key: &'static str,
        default: Vec<T>,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        self.note(key, Shape::List, &parse);
        let Some(node) = self.find(key) else {
            return default;
        };
        if self.is_empty(key) {
            self.error(
                key,
                "nothing is in it; write at least one, or remove the key",
            );
        }
        self.scalars(key, node, parse)
    }

    /// `a` or `[a, b]`.
    pub fn one_or_list<T, E: Into<Refusal>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        self.note(key, Shape::One, &parse);
        self.note(key, Shape::List, &parse);
        match self.find(key) {
            Some(node) if matches!(node.value, Value::Text(_)) => {
                self.scalar(key, node, parse).into_iter().collect()
            }
            Some(node) => self.scalars(key, node, parse),
            None => Vec::new(),
        }
    }

    /// `{name: value}` where the names are the operator's.
    pub fn pairs<K, V, N: Into<Refusal>, E: Into<Refusal>>(
        &mut self,
        key: &'static str,
        parse_name: impl Fn(&str) -> Result<K, N>,
        parse_value: impl Fn(&str) -> Result<V, E>,
    ) -> Vec<(K, V)> {
        self.note(key, Shape::Pairs, &parse_value);
        let entries = self.find(key).and_then(|node| self.entries_of(key, node));
        let mut pairs = Vec::new();
        for entry in entries.unwrap_or_default() {
            let name = self.parse(key, entry.key_span, &entry.key, &parse_name);
            let key = format!("{key}.{}", entry.key);
            let value = self.scalar(&key, &entry.node, &parse_value);
            pairs.extend(name.zip(value));
        }
        pairs
    }

    /// For an outline: what is taken under `key`.
    fn note<T, E: Into<Refusal>>(
        &self,
        key: &str,
        shape: fn(Vec<Wanted>) -> Shape,
        parse: impl Fn(&str) -> Result<T, E>,
    ) {
        if let Some(outline) = self.report.outline() {
            outline.note(self.path_of(key), shape(wanted(parse)));
        }
    }

    fn note_shape(&self, key: &str, shape: Shape) {
        if let Some(outline) = self.report.outline() {
            outline.note(self.path_of(key), shape);
        }
    }

    fn note_required(&self, key: &str) {
        if let Some(outline) = self.report.outline() {
            outline.note_required(self.path_of(key));
        }
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Node> {
        self.known.push(key);
        let node = self.entry(key).map(|entry| &entry.node)?;
        (!matches!(node.value, Value::Null)).then_some(node)
    }

    fn scalars<T, E: Into<Refusal>>(
        &self,
        key: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let items = self.items_of(key, node).iter();
        items
            .filter_map(|item| self.scalar(key, item, &parse))
            .collect()
    }

    fn scalar<T, E: Into<Refusal>>(
        &self,
        key: &str,
        node: &Node,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        match &node.value {
            Value::Text(text) => self.parse(key, node.span, text, parse),
            Value::Broken => None,
            Value::Nothing | Value::Null => self.no_value(key, node, "one"),
            Value::List(_) => self.mismatch(key, node.span, "one value, not a list"),
            Value::Map(_) => self.mismatch(key, node.span, "one value, not a section"),
        }
    }

    fn parse<T, E: Into<Refusal>>(
        &self,
        key: &str,
        span: Span,
        text: &str,
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Option<T> {
        let report = |refusal: E| {
            let why = refusal.into().into_why();
            // What is quoted is all that an empty text has to show.
            let message = why.replacen("``", "an empty text", 1);
            self.error_at(span, key, &message);
        };
        parse(text).map_err(report).ok()
    }
}
