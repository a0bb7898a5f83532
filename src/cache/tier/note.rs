//! What edges tell each other over Redis: purges, which nobody may miss, and objects that a write
//! made invalid. As text, one entry of a stream each.

use crate::cache::key::Key;
use crate::cache::purge::{Force, Name};
use bytes::Bytes;
use std::collections::HashMap;

/// In the stream of purges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// Who says it: a number that an edge draws when it starts.
    pub edge: u64,
    /// When, as that edge counts its purges.
    pub time: u64,
    pub what: What,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The stream's first entry: before it there was nothing, or it was lost.
    Begin,
    Purge(Name, Force),
    /// So many purges could not be told that all is taken back.
    Everything,
}

/// In the stream of changes, which is short: who misses one keeps an object for as long as it is
/// fresh. RFC 9111 §4.4 asks no more of caches in a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub edge: u64,
    pub zone: String,
    /// Of the object without variants, in memory.
    pub key: Key,
    /// What it hangs on in slower tiers; often the same.
    pub root: Key,
    /// Its name, and whether more than this one object may be found by that.
    pub url: Name,
    pub has_more: bool,
}

const FIELD: &str = "note";

impl Note {
    pub fn fields(&self) -> Vec<(&'static str, Bytes)> {
        let (what, name) = match self.what {
            What::Begin => ("begin", 0),
            What::Purge(name, Force::Hard) => ("hard", name.bits()),
            What::Purge(name, Force::Soft) => ("soft", name.bits()),
            What::Everything => ("everything", 0),
        };
        let text = format!("{:x} {} {what} {name:x}", self.edge, self.time);
        vec![(FIELD, text.into())]
    }

    /// None: not understood, so that who reads it must take back everything.
    pub fn read(fields: &HashMap<String, Bytes>) -> Option<Note> {
        let text = std::str::from_utf8(fields.get(FIELD)?).ok()?;
        let mut words = text.split(' ');
        let edge = u64::from_str_radix(words.next()?, 16).ok()?;
        let time = words.next()?.parse().ok()?;
        let what = words.next()?;
        let name = Name::from_bits(u64::from_str_radix(words.next()?, 16).ok()?);
        let what = match what {
            "begin" => What::Begin,
            "hard" => What::Purge(name, Force::Hard),
            "soft" => What::Purge(name, Force::Soft),
            "everything" => What::Everything,
            _ => return None,
        };
        Some(Note { edge, time, what })
    }
}

impl Change {
    pub fn fields(&self) -> Vec<(&'static str, Bytes)> {
        vec![
            ("edge", format!("{:x}", self.edge).into()),
            ("zone", self.zone.clone().into()),
            ("key", Bytes::copy_from_slice(self.key.as_bytes())),
            ("root", Bytes::copy_from_slice(self.root.as_bytes())),
            ("url", format!("{:x}", self.url.bits()).into()),
            ("more", if self.has_more { "1" } else { "0" }.into()),
        ]
    }

    pub fn read(fields: &HashMap<String, Bytes>) -> Option<Change> {
        let text = |name| std::str::from_utf8(fields.get(name)?).ok();
        let number = |name| u64::from_str_radix(text(name)?, 16).ok();
        Some(Change {
            edge: number("edge")?,
            zone: text("zone")?.to_owned(),
            key: Key::from_bytes(fields.get("key")?),
            root: Key::from_bytes(fields.get("root")?),
            url: Name::from_bits(number("url")?),
            has_more: number("more")? != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn heard(fields: Vec<(&'static str, Bytes)>) -> HashMap<String, Bytes> {
        let fields = fields.into_iter();
        fields
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    proptest! {
        #[test]
        fn what_is_said_is_heard(edge: u64, time: u64, bits: u64, kind in 0..4, key: Vec<u8>) {
            let name = Name::from_bits(bits);
            let what = match kind {
                0 => What::Begin,
                1 => What::Purge(name, Force::Hard),
                2 => What::Purge(name, Force::Soft),
                _ => What::Everything,
            };
            let note = Note { edge, time, what };
            prop_assert_eq!(Note::read(&heard(note.fields())), Some(note));
            let (url, has_more) = (name, kind == 1);
            let change = Change { edge, zone: "z".into(), key: Key::from_bytes(&key), root: Key::from_bytes(b"r"), url, has_more };
            prop_assert_eq!(Change::read(&heard(change.fields())), Some(change));
        }

        #[test]
        fn what_is_not_understood_is_no_note(text: Vec<u8>) {
            let fields = heard(vec![(FIELD, text.clone().into())]);
            if let Some(note) = Note::read(&fields) {
                let words = String::from_utf8(text).expect("it was understood");
                prop_assert!(words.contains(&note.time.to_string()));
            }
        }
    }
}
