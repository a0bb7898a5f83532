//! Sections within sections.

use super::super::names::check_name;
use super::super::outline::Shape;
use super::super::refusal::Refusal;
use super::{Entry, Node, Report, Section, Span, Value};

/// As `read_root`, of no file at all: for an outline.
pub fn read_nothing<T>(report: &Report, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    Section::new(String::new(), Span::FILE, &[], report).run(read)
}

/// The whole file.
pub fn read_root<T>(
    root: &Node,
    report: &Report,
    read: impl FnOnce(&mut Section<'_>) -> Option<T>,
) -> Option<T> {
    let problem = match &root.value {
        Value::Map(entries) => {
            return Section::new(String::new(), Span::FILE, entries, report).run(read);
        }
        Value::Nothing | Value::Null => "the file is empty; begin with conf/examples/proxy.yaml",
        _ => "the file must be keys with values; begin with conf/examples/proxy.yaml",
    };
    report.error(Span::FILE, problem);
    None
}

impl<'a> Section<'a> {
    fn new(path: String, span: Span, entries: &'a [Entry], report: &'a Report) -> Section<'a> {
        Section {
            path,
            span,
            entries,
            known: Vec::new(),
            settled: Vec::new(),
            missing: Vec::new(),
            report,
        }
    }

    fn run<T>(mut self, read: impl FnOnce(&mut Section<'a>) -> T) -> T {
        let result = read(&mut self);
        self.report_keys();
        result
    }

    /// A section that is as good as empty if it isn't there.
    pub fn settings<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'a>) -> T,
    ) -> T {
        self.note_shape(key, Shape::Settings);
        let node = self.find(key);
        let entries = node.and_then(|node| self.entries_of(key, node));
        self.inner(key, entries.unwrap_or_default()).run(read)
    }

    /// A section that means something by being there.
    pub fn section<T>(
        &mut self,
        key: &'static str,
        read: impl FnOnce(&mut Section<'a>) -> Option<T>,
    ) -> Option<T> {
        self.note_shape(key, Shape::Section);
        let Some(node) = self.find(key) else {
            return self.outline(self.path_of(key), read);
        };
        if matches!(node.value, Value::Nothing) {
            return self.no_value(key, node, "{} for its defaults");
        }
        let entries = self.entries_of(key, node)?;
        self.inner(key, entries).run(read)
    }

    /// Sections under the operator's names, in the order written.
    pub fn named<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&str, &mut Section<'a>) -> Option<T>,
    ) -> Vec<T> {
        self.note_shape(key, Shape::Named);
        let any = format!("{}.*", self.path_of(key));
        let entries = self.find(key).and_then(|node| self.entries_of(key, node));
        let mut sections = Vec::from_iter(self.outline(any, |s| read("*", s)));
        for entry in entries.unwrap_or_default() {
            self.parse(key, entry.key_span, &entry.key, check_name);
            let path = format!("{}.{}", self.path_of(key), entry.key);
            if let Some(inner) = self.entries_at(&path, &entry.node) {
                let section = Section::new(path, entry.key_span, inner, self.report);
                sections.extend(section.run(|s| read(&entry.key, s)));
            }
        }
        sections
    }

    /// A list of sections. Each goes by its `name`, or else by its place in the list, from 0.
    pub fn items<T>(
        &mut self,
        key: &'static str,
        mut read: impl FnMut(&mut Section<'a>) -> Option<T>,
    ) -> Vec<T> {
        self.note_shape(key, Shape::Items);
        let Some(node) = self.find(key) else {
            let any = format!("{}[]", self.path_of(key));
            return Vec::from_iter(self.outline(any, read));
        };
        let mut items = Vec::new();
        for (index, item) in self.items_of(key, node).iter().enumerate() {
            let path = match name_of(item) {
                Some(name) => format!("{}.{name}", self.path_of(key)),
                None => format!("{}[{index}]", self.path_of(key)),
            };
            if let Some(entries) = self.entries_at(&path, item) {
                let section = Section::new(path, place_of(item, entries), entries, self.report);
                items.extend(section.run(&mut read));
            }
        }
        items
    }

    /// A list of scalars and sections in any mix, each with its place.
    pub fn items_or_texts<T, E: Into<Refusal>>(
        &mut self,
        key: &'static str,
        parse: impl Fn(&str) -> Result<T, E>,
        mut read: impl FnMut(&mut Section<'a>) -> Option<T>,
    ) -> Vec<(T, Span)> {
        self.note(key, Shape::List, &parse);
        self.note_shape(key, Shape::Items);
        let Some(node) = self.find(key) else {
            let any = format!("{}[]", self.path_of(key));
            let item = self.outline(any, read);
            return Vec::from_iter(item.map(|item| (item, self.span)));
        };
        let mut items = Vec::new();
        for item in self.items_of(key, node) {
            let value = match &item.value {
                Value::Map(entries) => {
                    let span = place_of(item, entries);
                    Section::new(self.path_of(key), span, entries, self.report).run(&mut read)
                }
                _ => self.scalar(key, item, &parse),
            };
            items.extend(value.map(|value| (value, item.span)));
        }
        items
    }

    /// For an outline, what is in a section that isn't there; else nothing.
    fn outline<T>(
        &self,
        path: String,
        read: impl FnOnce(&mut Section<'a>) -> Option<T>,
    ) -> Option<T> {
        self.report.outline()?;
        Section::new(path, self.span, &[], self.report).run(read)
    }

    fn inner(&self, key: &str, entries: &'a [Entry]) -> Section<'a> {
        Section::new(self.path_of(key), self.key_span(key), entries, self.report)
    }

    pub(super) fn items_of(&self, key: &str, node: &'a Node) -> &'a [Node] {
        let must_be = match &node.value {
            Value::List(items) => return items,
            Value::Nothing | Value::Null | Value::Broken => return &[],
            Value::Text(text) => {
                let words = text.split([',', ' ']).filter(|word| !word.is_empty());
                let words: Vec<&str> = words.collect();
                format!("a list; write [{}]", words.join(", "))
            }
            Value::Map(_) => "a list; begin each of its items with `- `".to_owned(),
        };
        self.mismatch::<()>(key, node.span, &must_be);
        &[]
    }

    pub(super) fn entries_of(&self, key: &str, node: &'a Node) -> Option<&'a [Entry]> {
        self.entries_at(&self.path_of(key), node)
    }

    fn entries_at(&self, path: &str, node: &'a Node) -> Option<&'a [Entry]> {
        let found = match &node.value {
            Value::Map(entries) => return Some(entries),
            Value::Nothing | Value::Null => return Some(&[]),
            Value::Broken => return None,
            Value::Text(text) => format!("not the text `{text}`"),
            Value::List(_) => "not a list".to_owned(),
        };
        let message = format!("{path} must be a section of keys with values, {found}");
        self.report.error(node.span, message);
        None
    }
}

/// A section in a list has no key of its own: its first one stands for it.
fn place_of(item: &Node, entries: &[Entry]) -> Span {
    entries.first().map_or(item.span, |first| first.key_span)
}

fn name_of(item: &Node) -> Option<&str> {
    let Value::Map(entries) = &item.value else {
        return None;
    };
    match &entries.iter().find(|e| e.key == "name")?.node.value {
        Value::Text(name) => Some(name),
        _ => None,
    }
}
