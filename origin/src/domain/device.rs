//! Devices: what they may be called, what they are told, and what they ask.

use super::clock::Moment;
use super::fields::{Fields, Invalid};
use super::job::State;
use super::page::Stamp;
use super::words::words;
use serde::Serialize;
use serde_json::Value;
use std::{fmt, str::FromStr};

/// Of what is kept for those who come back: of each device, and of what is said to all.
pub const MOST_BACKLOG: u32 = 100;

/// Of one person.
pub const MOST_DEVICES: u32 = 1_000;

pub const MOST_TEXT: usize = 4_000;

/// Lower-case letters, digits and dashes; so it can be a folder's name too.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct DeviceName(String);

#[derive(Serialize)]
pub struct Device {
    pub name: String,
    /// Whether some hub hears from it.
    pub present: bool,
    pub created_at: String,
}

words! {
    pub enum Kind {
        Message = "message",
        /// A request of its has an answer.
        ResponseReady = "response-ready",
    }
}

/// Numbered in the order in which they were said.
#[derive(Debug, Clone, Serialize)]
pub struct Message {
    pub id: i64,
    /// None: to all.
    #[serde(skip)]
    pub device: Option<DeviceName>,
    pub kind: Kind,
    pub body: Value,
    pub at: String,
}

#[derive(Serialize)]
pub struct Request {
    pub id: i64,
    pub device: String,
    pub text: String,
    pub state: State,
    pub answer: Option<String>,
    pub created_at: String,
}

impl Request {
    /// Where it is in a list of requests.
    pub fn stamp(&self) -> Stamp {
        let at = Moment::read(&self.created_at).unwrap_or(Moment(0));
        Stamp { at, id: self.id }
    }
}

impl DeviceName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for DeviceName {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let good = (1..=64).contains(&name.len()) && name.bytes().all(plain);
        good.then(|| Self(name.into())).ok_or(())
    }
}

/// A body with a text and nothing else: what is said, or asked.
pub fn text(body: Value) -> Result<String, Invalid> {
    let mut fields = Fields::of(body)?;
    let text = fields.text("text", 1..=MOST_TEXT);
    fields.finish(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_be_a_folder_s_name() {
        assert!("scanner-7".parse::<DeviceName>().is_ok());
        for name in ["", ".", "..", "a/b", "A", "a b", &"x".repeat(65)] {
            assert_eq!(name.parse::<DeviceName>(), Err(()), "{name:?}");
        }
    }
}
