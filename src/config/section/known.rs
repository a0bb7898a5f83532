//! Which keys a section may have and must have.

use super::super::closest::{closest, did_you_mean};
use super::{Missing, Section};

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
