//! Which keys a section may have, must have, and may not have yet.

use super::super::closest::{closest, did_you_mean};
use super::super::outline::Shape;
use super::super::refusal::Wanted;
use super::super::units::one_of;
use super::{Missing, Section, Value};

impl Section<'_> {
    /// Reports that `key` isn't there, once it is clear that it wasn't just mistyped.
    pub(super) fn miss(&mut self, key: &'static str, example: &str) {
        let message = format!("{} has no `{key}`; write {key}: {example}", self.path);
        self.missing.push(Missing { key, message });
    }

    /// For what isn't read with `required`: reports if nothing is under `key`.
    pub fn at_least_one(&mut self, key: &'static str, example: &str) {
        self.note_required(key);
        self.needed(key, example);
    }

    /// As `at_least_one`, because of what else is written.
    pub fn needed(&mut self, key: &'static str, example: &str) {
        if self.is_empty(key) || !self.has(key) {
            let place = match self.path.is_empty() {
                true => "the file".to_owned(),
                false => self.path.clone(),
            };
            let message = format!("{place} has no `{key}`; write {key}: {example}");
            self.missing.push(Missing { key, message });
        }
    }

    /// Keys of the contract that this version doesn't act on. `null` is what it does anyway.
    pub fn unsupported(&mut self, keys: &[&'static str]) {
        for key in keys {
            self.unsupported_but(key, &[]);
        }
    }

    /// As `unsupported`, but for the values that say what this version does anyway.
    pub fn unsupported_but(&mut self, key: &'static str, accepted: &[&str]) {
        self.settled.push(key);
        self.note_shape(key, Shape::Null);
        if !accepted.is_empty() {
            let words = accepted.iter().map(|word| Wanted::Word((*word).to_owned()));
            self.note_shape(key, Shape::One(words.collect()));
        }
        let Some(entry) = self.entry(key) else {
            return;
        };
        match &entry.node.value {
            Value::Null | Value::Broken => {}
            Value::Text(text) if accepted.contains(&&**text) => {}
            Value::Text(text) if !accepted.is_empty() => {
                let write = one_of(accepted);
                let message = format!(
                    "`{text}` is not supported by this version of Lakh; write {write} or remove it"
                );
                self.error(key, message);
            }
            _ => {
                let message = format!(
                    "`{}` is not supported by this version of Lakh; remove it",
                    self.path_of(key)
                );
                self.report.error(entry.key_span, message);
            }
        }
    }

    /// Keys that are easily written here although they belong under `inner`, which has been read.
    pub fn misplaced(&mut self, keys: &[&'static str], inner: &str) {
        for key in keys {
            self.settled.push(key);
            if let Some(entry) = self.entry(key) {
                let message = format!(
                    "`{key}` belongs under `{inner}`, not in {}; write {inner}: {{{key}: ...}}",
                    self.path
                );
                self.report.error(entry.key_span, message);
                self.missing.retain(|missing| missing.key != inner);
            }
        }
    }

    /// Reports `key` instead of reading it.
    pub fn refuse(&mut self, key: &'static str, message: &str) {
        self.settled.push(key);
        self.error_at(self.key_span(key), key, message);
    }

    /// When the reader is through: keys that nobody asked for, and those that aren't there. A
    /// key that was mistyped is both, and reported once.
    pub(super) fn report_keys(&self) {
        let asked = |key: &str| self.known.contains(&key) || self.settled.contains(&key);
        let unknown = self.entries.iter().filter(|entry| !asked(&entry.key));
        let mut meant = Vec::new();
        for entry in unknown {
            meant.extend(closest(&entry.key, self.known.iter().copied()));
            self.report
                .error(entry.key_span, self.unknown_message(&entry.key));
        }
        for missing in &self.missing {
            if !meant.contains(&missing.key) {
                self.report
                    .error(self.key_span(missing.key), missing.message.clone());
            }
        }
    }

    fn unknown_message(&self, key: &str) -> String {
        let place = match self.path.is_empty() {
            true => String::new(),
            false => format!(" in {}", self.path),
        };
        let advice = did_you_mean(key, self.known.iter().copied(), || {
            format!("; it may have {}", self.known.join(", "))
        });
        format!("unknown key `{key}`{place}{advice}")
    }
}
