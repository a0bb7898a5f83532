//! What the operator named, so that other sections can point at it.

use super::closest::did_you_mean;
use super::diagnostic::Span;
use super::section::Section;
use super::units::one_of;

/// The upstreams, or the rate limits, or the caches of a file.
pub struct Names<'a> {
    /// The top-level key, and one of what is under it.
    pub key: &'static str,
    noun: &'static str,
    names: Vec<(&'a str, Span)>,
}

impl<'a> Names<'a> {
    pub fn collect(root: &Section<'a>, key: &'static str, noun: &'static str) -> Names<'a> {
        Names {
            key,
            noun,
            names: root.names_of(key),
        }
    }

    /// Its place in the order written.
    pub fn find(&self, name: &str) -> Result<usize, String> {
        let found = self.names.iter().position(|(known, _)| *known == name);
        found.ok_or_else(|| format!("no {} is named `{name}`{}", self.noun, self.advice(name)))
    }

    fn advice(&self, name: &str) -> String {
        let known: Vec<&str> = self.names.iter().map(|(known, _)| *known).collect();
        did_you_mean(name, known.iter().copied(), || match known.is_empty() {
            true => format!("; there are none, so write one under `{}:`", self.key),
            false => format!("; write {}", one_of(&known)),
        })
    }

    /// Name and place of each, in the order written.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Span)> + '_ {
        self.names.iter().copied()
    }
}

/// Names end up in metrics, cookies and URLs of the admin API.
pub fn check_name(name: &str) -> Result<String, String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.is_empty() && name.len() <= 64 && name.chars().all(is_part) {
        return Ok(name.to_owned());
    }
    Err(format!(
        "`{name}` is not a name; write 1 to 64 of the letters a-z and A-Z, digits, `_`, `-` and `.`"
    ))
}
