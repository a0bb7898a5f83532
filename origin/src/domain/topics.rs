//! What events are about and people are interested in.

use super::fields::{Fault, Fields, Invalid};
use super::listing::is_category;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;
use std::{fmt, str::FromStr};

/// Of one event or person.
const MOST: usize = 20;

/// Words of one spelling, that of categories; in order, none twice.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Topics(BTreeSet<String>);

impl Topics {
    pub fn read(fields: &mut Fields, field: &str) -> Self {
        Self(fields.list(field, 1..=MOST, topic).into_iter().collect())
    }

    pub fn each(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

fn topic(item: Value) -> Result<String, Invalid> {
    match item {
        Value::String(text) if is_category(&text) => Ok(text),
        _ => Err(Invalid(vec![Fault {
            field: String::new(),
            detail: "must be 1 to 40 of a-z, 0-9 and -".into(),
        }])),
    }
}

/// With blanks between them.
impl fmt::Display for Topics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.each().collect();
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Topics {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: BTreeSet<_> = text.split(' ').map(str::to_owned).collect();
        match words.iter().all(|word| is_category(word)) {
            true => Ok(Self(words)),
            false => Err(()),
        }
    }
}
