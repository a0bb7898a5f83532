//! Why a value is not taken, and what would be. Operators read the first, the schema tells the
//! second: a parser says what it wants by refusing what nobody would write.

use std::fmt;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    why: String,
    wanted: Vec<Wanted>,
}

/// A form that a value may have. One without any is text, by rules of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    Word(String),
    Switch,
    /// Whole, both bounds included.
    Number {
        least: u64,
        most: u64,
    },
    Duration,
    Size,
    ByteRate,
    Rate,
    Share,
}

/// What no parser takes that wants one of these forms.
const NOTHING: &str = "?";

impl Refusal {
    pub fn new(why: impl Into<String>, wanted: impl IntoIterator<Item = Wanted>) -> Refusal {
        let (why, wanted) = (why.into(), wanted.into_iter().collect());
        Refusal { why, wanted }
    }

    /// The same, of one that takes a word as well.
    pub fn or(mut self, word: &str) -> Refusal {
        self.why = format!("{}, or {word}", self.why);
        self.wanted.push(Wanted::Word(word.to_owned()));
        self
    }

    pub fn into_why(self) -> String {
        self.why
    }
}

/// What `parse` takes.
pub fn wanted<T, E: Into<Refusal>>(parse: impl Fn(&str) -> Result<T, E>) -> Vec<Wanted> {
    let refusal = parse(NOTHING).err().map(Into::into);
    refusal.map_or(Vec::new(), |refusal: Refusal| refusal.wanted)
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal::new(why, [])
    }
}

impl From<Refusal> for String {
    fn from(refusal: Refusal) -> String {
        refusal.why
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Refusal {}
