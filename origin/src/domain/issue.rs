//! Issues: what is wrong somewhere in the neighbourhood, and what has been done about it.

use super::fields::{Fields, Invalid};
use super::words::words;
use serde::Serialize;
use serde_json::Value;

words! {
    pub enum State {
        Open = "open",
        InProgress = "in_progress",
        Resolved = "resolved",
        Closed = "closed",
    }
}

#[derive(Serialize)]
pub struct Issue {
    pub id: i64,
    #[serde(flatten)]
    pub report: Report,
    pub reporter: i64,
    pub state: State,
    /// Path of its last photo.
    pub photo: Option<String>,
    /// Paths of all of them, in order.
    pub photos: Vec<String>,
    /// From the report on, in order.
    pub history: Vec<Step>,
    pub created_at: String,
    pub updated_at: String,
    #[serde(skip)]
    pub version: i64,
}

#[derive(Serialize)]
pub struct Step {
    pub state: State,
    pub note: String,
    pub by: i64,
    pub at: String,
}

/// What somebody reports.
#[derive(Debug, PartialEq, Serialize)]
pub struct Report {
    pub title: String,
    pub text: String,
    pub place: String,
    /// Of the listing that it is about.
    pub listing: Option<i64>,
}

/// What somebody does about it.
#[derive(Debug, PartialEq)]
pub struct Change {
    pub state: State,
    pub note: String,
}

impl Report {
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let report = Self {
            title: fields.text("title", 1..=120),
            text: fields.text("text", 1..=5_000),
            place: fields.text("place", 1..=120),
            listing: fields.optional_integer("listing", 1..=i64::MAX),
        };
        fields.finish(report)
    }
}

impl Change {
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let state = fields.word("state", State::ALL);
        fields.fault_unless(state.is_some(), "state", "is required");
        let change = Self {
            state: state.unwrap_or(State::Open),
            note: fields.optional_text("note", 1..=1_000).unwrap_or_default(),
        };
        fields.finish(change)
    }
}

impl State {
    /// Staff take an issue on, and say that it is resolved. Whoever reported it closes it, or says that
    /// it isn't resolved.
    pub fn may_become(self, next: Self, is_staff: bool) -> bool {
        use State::{Closed, InProgress, Open, Resolved};
        match (self, next) {
            (Open | InProgress | Resolved, Closed) | (Resolved | Closed, Open) => true,
            (Open | Resolved, InProgress) | (Open | InProgress, Resolved) => is_staff,
            (InProgress, Open) => is_staff,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn whatever_reporters_may_do_staff_may_too_and_nothing_stays_as_it_is() {
        for state in State::ALL {
            assert!(!state.may_become(*state, true));
            for next in State::ALL {
                assert!(!state.may_become(*next, false) || state.may_become(*next, true));
            }
        }
        assert!(!State::Open.may_become(State::Resolved, false));
        assert!(!State::Closed.may_become(State::Resolved, true));
    }

    #[test]
    fn every_fault_of_a_change_is_named() {
        let Err(Invalid(faults)) = Change::read(json!({"note": 1, "x": 2})) else {
            panic!("it should be refused");
        };
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(named, ["state", "note", "x"]);
    }
}
