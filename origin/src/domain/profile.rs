//! What somebody says of themselves to meet others: what they like, where they are, and when they are free.

use super::fields::{Fields, Invalid};
use super::position::Position;
use super::span::Span;
use super::topics::Topics;
use serde::Serialize;
use serde_json::Value;

const MOST_SPANS: usize = 50;

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Profile {
    pub interests: Topics,
    #[serde(flatten)]
    pub position: Position,
    /// How far they would go.
    pub distance_km: i64,
    /// In order, with gaps between them; at least one.
    pub free: Vec<Span>,
}

impl Profile {
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let profile = Self {
            interests: Topics::read(&mut fields, "interests"),
            position: Position::read(&mut fields),
            distance_km: fields.integer("distance_km", 1..=500),
            free: Span::merged(fields.list("free", 1..=MOST_SPANS, Span::read)),
        };
        fields.finish(profile)
    }

    pub fn is_free(&self, time: Span) -> bool {
        self.free.iter().any(|span| span.covers(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn bob() -> Value {
        json!({"interests": ["music", "chess", "music"], "latitude": 52.5, "longitude": 13, "distance_km": 5,
               "free": [{"from": "2026-06-01T20:00:00+02:00", "to": "2026-06-01T19:00:00Z"},
                        {"from": "2026-06-01T17:00:00Z", "to": "2026-06-01T18:00:00Z"}]})
    }

    #[test]
    fn topics_come_once_and_spans_that_touch_are_one() {
        let profile = Profile::read(bob()).expect("a good profile");
        let shown = serde_json::to_value(&profile).expect("text keys");
        assert_eq!(shown["interests"], json!(["chess", "music"]));
        assert_eq!(shown["latitude"], json!(52.5));
        let evening = json!([{"from": "2026-06-01T17:00:00Z", "to": "2026-06-01T19:00:00Z"}]);
        assert_eq!(shown["free"], evening);
        // What is shown can be sent.
        assert_eq!(Profile::read(shown), Ok(profile));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let body = json!({"interests": ["Music", 5], "latitude": 91, "distance_km": 0, "more": 1,
                          "free": [{"from": "soon"}, 7, {"from": "2026-06-01T18:00:00Z", "to": "2026-06-01T18:00:00Z"}]});
        let Invalid(faults) = Profile::read(body).expect_err("it should be refused");
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        let expected = [
            "interests/0",
            "interests/1",
            "latitude",
            "longitude",
            "distance_km",
            "free/0/from",
            "free/0/to",
            "free/1",
            "free/2/to",
            "more",
        ];
        assert_eq!(named, expected);
        let mut body = bob();
        body["free"] = json!([]);
        body["interests"] = Value::Null;
        let Invalid(faults) = Profile::read(body).expect_err("it should be refused");
        assert_eq!(faults.len(), 2);
    }
}
