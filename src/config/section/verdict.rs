//! What readers find when they look at several keys together, and where it is.

use super::super::outline::Outline;
use super::{Entry, Node, Section, Span, Value};

impl<'a> Section<'a> {
    /// Reports at the value of `key`.
    pub fn error(&self, key: &str, message: impl AsRef<str>) {
        self.error_at(self.value_span(key), key, message.as_ref());
    }

    /// As `error`, at another place than the value.
    pub fn error_at(&self, span: Span, key: &str, message: &str) {
        let message = format!("{}: {message}", self.path_of(key));
        self.report.error(span, message);
    }

    /// As `error`, about the section as a whole.
    pub fn error_here(&self, message: &str) {
        let message = format!("{} {message}", self.path);
        self.report.error(self.span, message);
    }

    pub fn warn(&self, span: Span, message: &str) {
        self.report.warn(span, format!("{}: {message}", self.path));
    }

    pub fn path(&self) -> &str {
        &self.path
    }

    pub fn span(&self) -> Span {
        self.span
    }

    /// Another place, for a message about this section.
    pub fn place(&self, there: Span) -> String {
        self.report.place_from(self.span, there)
    }

    /// Where the value of `key` is, or the section if it isn't there.
    pub fn value_span(&self, key: &str) -> Span {
        self.entry(key).map_or(self.span, |e| e.node.span)
    }

    pub fn key_span(&self, key: &str) -> Span {
        self.entry(key).map_or(self.span, |e| e.key_span)
    }

    pub fn has(&self, key: &str) -> bool {
        let entry = self.entry(key);
        self.seems_whole() || entry.is_some_and(|e| !matches!(e.node.value, Value::Null))
    }

    /// For an outline, the second time.
    fn seems_whole(&self) -> bool {
        self.report.outline().is_some_and(Outline::is_whole)
    }

    /// True if it is there with this value.
    pub fn is(&self, key: &str, text: &str) -> bool {
        let entry = self.entry(key);
        entry.is_some_and(|e| matches!(&e.node.value, Value::Text(value) if value == text))
    }

    /// True if it is there with nothing in it.
    pub fn is_empty(&self, key: &str) -> bool {
        self.entry(key).is_some_and(|e| match &e.node.value {
            Value::List(items) => items.is_empty(),
            Value::Map(entries) => entries.is_empty(),
            value => matches!(value, Value::Nothing),
        })
    }

    /// True if a section stands where one value is meant.
    pub fn is_map(&self, key: &str) -> bool {
        let entry = self.entry(key);
        self.seems_whole() || entry.is_some_and(|e| matches!(e.node.value, Value::Map(_)))
    }

    /// The operator's names under `key`, in the order written.
    pub fn names_of(&self, key: &str) -> Vec<(&'a str, Span)> {
        match self.entry(key).map(|e| &e.node.value) {
            Some(Value::Map(entries)) => entries.iter().map(|e| (&*e.key, e.key_span)).collect(),
            _ => Vec::new(),
        }
    }

    pub(super) fn entry(&self, key: &str) -> Option<&'a Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    pub(super) fn path_of(&self, key: &str) -> String {
        match self.path.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.path),
        }
    }

    pub(super) fn mismatch<T>(&self, key: &str, span: Span, must_be: &str) -> Option<T> {
        let message = format!("{} must be {must_be}", self.path_of(key));
        self.report.error(span, message);
        None
    }

    /// Nothing stands after a key, so it is the key that is underlined. What has no key of its
    /// own is an item of a list, or a name of the operator's.
    pub(super) fn no_value<T>(&self, key: &str, node: &Node, write: &str) -> Option<T> {
        let path = self.path_of(key);
        match self.entry(key).filter(|e| std::ptr::eq(&e.node, node)) {
            Some(entry) => {
                let message = format!("{path} has no value; write {write}, or remove the key");
                self.report.error(entry.key_span, message);
            }
            None => {
                let message =
                    format!("{path}: there is no value here; write {write}, or remove it");
                self.report.error(node.span, message);
            }
        }
        None
    }
}
