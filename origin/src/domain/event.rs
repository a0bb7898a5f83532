//! Events: somebody invites neighbours whom they need not know. Who comes is offered a place by `matching`, and
//! says whether they take it.

use super::clock::Moment;
use super::fields::{Fields, Invalid};
use super::position::Position;
use super::span::Span;
use super::topics::Topics;
use super::words::words;
use serde::Serialize;
use serde_json::Value;

/// Of one organiser, of those that are not over.
pub const MOST_AHEAD: i64 = 20;

const MOST_SECONDS: i64 = 7 * 86_400;
const MOST_SECONDS_AHEAD: i64 = 366 * 86_400;

#[derive(Debug, Clone, Serialize)]
pub struct Event {
    pub id: i64,
    #[serde(flatten)]
    pub draft: Draft,
    pub organiser: i64,
    pub cancelled: bool,
    pub created_at: String,
    /// Counts what is decided about its places, so that nothing is decided on what has changed since.
    #[serde(skip)]
    pub version: i64,
}

/// What its organiser says about it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Draft {
    pub title: String,
    pub text: String,
    pub topics: Topics,
    pub place: String,
    #[serde(flatten)]
    pub position: Position,
    #[serde(flatten)]
    pub time: Span,
    /// How many may come, the organiser aside.
    pub capacity: i64,
}

words! {
    /// Of a place at an event that somebody is offered.
    pub enum State {
        /// It is kept for them.
        Offered = "offered",
        Accepted = "accepted",
        /// It is another's, and for good: nobody is asked twice.
        Declined = "declined",
    }
}

/// Somebody's place at an event.
#[derive(Serialize)]
pub struct Match {
    pub id: i64,
    pub event: i64,
    pub title: String,
    pub place: String,
    #[serde(flatten)]
    pub time: Span,
    pub cancelled: bool,
    pub person: i64,
    pub name: String,
    /// How many topics of the event are interests of theirs.
    pub shared: i64,
    pub state: State,
    pub created_at: String,
    pub updated_at: String,
    #[serde(skip)]
    pub organiser: i64,
}

impl Draft {
    pub fn read(body: Value, now: Moment) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let draft = Self {
            title: fields.text("title", 1..=120),
            text: fields.text("text", 1..=5_000),
            topics: Topics::read(&mut fields, "topics"),
            place: fields.text("place", 1..=120),
            position: Position::read(&mut fields),
            capacity: fields.integer("capacity", 1..=1_000),
            time: Span::among(&mut fields),
        };
        let time = draft.time;
        fields.fault_unless(time.from > now, "from", "must not be in the past");
        let is_near = time.from <= now.plus_seconds(MOST_SECONDS_AHEAD);
        fields.fault_unless(is_near, "from", "must be within a year");
        let is_short = time.seconds() <= MOST_SECONDS;
        fields.fault_unless(is_short, "to", "must be within a week from `from`");
        fields.finish(draft)
    }
}

impl State {
    /// An answer that is given again changes nothing.
    pub fn may_become(self, next: Self) -> bool {
        match (self, next) {
            (_, Self::Offered) => false,
            (Self::Declined, next) => next == Self::Declined,
            (Self::Offered | Self::Accepted, _) => true,
        }
    }
}

/// Whether somebody takes the place that they are offered.
pub fn answer(body: Value) -> Result<State, Invalid> {
    let mut fields = Fields::of(body)?;
    let answers = [State::Accepted, State::Declined];
    let state = fields.word("state", &answers);
    fields.fault_unless(state.is_some(), "state", "is required");
    fields.finish(state.unwrap_or(State::Declined))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const NOW: Moment = Moment(1_780_272_000_000);

    fn after(from: i64, to: i64) -> Value {
        let moment = |hours: i64| NOW.plus_seconds(hours * 3600).iso();
        json!({"title": "Chess", "text": "Bring a board.", "topics": ["chess"], "place": "Mill Lane",
               "latitude": 52.5, "longitude": 13.4, "from": moment(from), "to": moment(to), "capacity": 4})
    }

    #[test]
    fn an_event_lies_ahead_and_is_short() {
        assert!(Draft::read(after(1, 169), NOW).is_ok());
        for (from, to) in [(0, 1), (1, 170), (2, 1), (1, 1), (9000, 9001)] {
            assert!(Draft::read(after(from, to), NOW).is_err(), "{from} to {to}");
        }
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let body =
            json!({"title": "", "topics": "chess", "latitude": "north", "from": 5, "capacity": 0});
        let Invalid(faults) = Draft::read(body, NOW).expect_err("it should be refused");
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        let expected = [
            "title",
            "text",
            "topics",
            "place",
            "latitude",
            "longitude",
            "capacity",
            "from",
            "to",
        ];
        assert_eq!(named, expected);
    }

    #[test]
    fn who_has_declined_is_not_asked_again() {
        use State::{Accepted, Declined, Offered};
        assert!(Offered.may_become(Accepted) && Offered.may_become(Declined));
        assert!(Accepted.may_become(Declined) && Accepted.may_become(Accepted));
        assert!(!Declined.may_become(Accepted) && Declined.may_become(Declined));
        assert!(State::ALL.iter().all(|state| !state.may_become(Offered)));
        assert!(answer(json!({"state": "offered"})).is_err() && answer(json!({})).is_err());
    }
}
