//! A listing: a thing that somebody lends to the neighbours.

use super::days::{Days, day, written};
use super::fields::{Fields, Invalid, merged};
use super::photo::PhotoName;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use time::Date;

/// A listing as everybody may see it.
#[derive(Debug, Clone, Serialize)]
pub struct Listing {
    pub id: i64,
    #[serde(flatten)]
    pub draft: Draft,
    pub owner: Owner,
    #[serde(serialize_with = "as_paths")]
    pub photos: Vec<PhotoName>,
    pub created_at: String,
    pub updated_at: String,
    /// Counts changes; a write names the version it has seen, so that none is lost.
    #[serde(skip)]
    pub version: i64,
}

#[derive(Debug, Clone, Serialize)]
pub struct Owner {
    pub id: i64,
    pub name: String,
}

/// What the owner says about the thing: the part of a listing that can be written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Draft {
    pub title: String,
    pub text: String,
    pub category: String,
    /// For one day.
    pub price_cents: i64,
    pub place: String,
    pub availability: Availability,
    /// An archived listing is kept, and found by nobody.
    pub archived: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Availability {
    Now(bool),
    /// ISO 8601 days, both included.
    Between {
        from: String,
        to: String,
    },
}

impl Default for Availability {
    fn default() -> Self {
        Self::Now(true)
    }
}

impl Availability {
    /// Whether it is lent on all of these days, as far as its owner says.
    pub fn covers(&self, days: Days) -> bool {
        match self {
            Self::Now(now) => *now,
            Self::Between { from, to } => *from <= written(days.first) && written(days.last) <= *to,
        }
    }
}

impl Draft {
    pub fn read(body: Value) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let draft = Self {
            title: fields.text("title", 1..=120),
            text: fields.text("text", 1..=5_000),
            category: category(&mut fields),
            price_cents: fields.integer("price_cents", 0..=10_000_000),
            place: fields.text("place", 1..=120),
            availability: availability(&mut fields),
            archived: fields.optional_flag("archived").unwrap_or(false),
        };
        fields.finish(draft)
    }

    /// The draft with `patch` laid over it, checked as a whole. RFC 7396.
    pub fn patched(&self, patch: Value) -> Result<Self, Invalid> {
        Self::read(merged(self, patch))
    }

    /// The names of the fields in which another one differs.
    pub fn changed_fields(&self, other: &Self) -> Vec<&'static str> {
        let differs = [
            ("title", self.title != other.title),
            ("text", self.text != other.text),
            ("category", self.category != other.category),
            ("price_cents", self.price_cents != other.price_cents),
            ("place", self.place != other.place),
            ("availability", self.availability != other.availability),
            ("archived", self.archived != other.archived),
        ];
        differs
            .into_iter()
            .filter(|field| field.1)
            .map(|field| field.0)
            .collect()
    }
}

/// Categories are open, but of one spelling, so that they can be filtered by.
pub fn is_category(text: &str) -> bool {
    (1..=40).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn category(fields: &mut Fields) -> String {
    let Some(value) = fields.take("category") else {
        return fields.fault("category", "is required");
    };
    match value.as_str() {
        Some(text) if is_category(text) => text.to_owned(),
        _ => fields.fault("category", "must be 1 to 40 of a-z, 0-9 and -"),
    }
}

fn availability(fields: &mut Fields) -> Availability {
    match fields.take("availability") {
        None => Availability::default(),
        Some(Value::Bool(now)) => Availability::Now(now),
        Some(Value::Object(days)) if days.len() == 2 => {
            match (day_in(&days, "from"), day_in(&days, "to")) {
                (Some(first), Some(last)) if first <= last => Availability::Between {
                    from: written(first),
                    to: written(last),
                },
                (Some(_), Some(_)) => fields.fault("availability", "`from` must not be after `to`"),
                _ => fields.fault(
                    "availability",
                    "`from` and `to` must be days, as 2026-05-31",
                ),
            }
        }
        Some(_) => fields.fault("availability", "must be true, false or {\"from\", \"to\"}"),
    }
}

fn day_in(days: &Map<String, Value>, name: &str) -> Option<Date> {
    days.get(name)?.as_str().and_then(day)
}

fn as_paths<S: Serializer>(photos: &[PhotoName], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(photos.iter().map(PhotoName::path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn ladder() -> Value {
        json!({"title": " Ladder ", "text": "Three metres.", "category": "tools",
               "price_cents": 350, "place": "Elm Street"})
    }

    fn faulty_fields(body: Value) -> Vec<String> {
        let Invalid(faults) = Draft::read(body).expect_err("the draft should be refused");
        faults.into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn text_is_trimmed_and_availability_defaults_to_now() {
        let draft = Draft::read(ladder()).expect("a good draft");
        assert_eq!(draft.title, "Ladder");
        assert_eq!(draft.availability, Availability::Now(true));
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let body = json!({"title": "", "category": "Big Tools", "price_cents": 1.5, "place": 3,
                          "availability": "yes", "colour": "red"});
        let named = [
            "title",
            "text",
            "category",
            "price_cents",
            "place",
            "availability",
            "colour",
        ];
        assert_eq!(faulty_fields(body), named);
    }

    #[test]
    fn days_must_exist_and_run_forward() {
        let with = |from: &str, to: &str| {
            let mut body = ladder();
            body["availability"] = json!({"from": from, "to": to});
            Draft::read(body)
        };
        assert!(with("2028-02-29", "2028-02-29").is_ok());
        assert!(with("2026-02-29", "2026-03-01").is_err());
        assert!(with("2026-03-02", "2026-03-01").is_err());
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_restores_the_default() {
        let draft = Draft::read(ladder()).expect("a good draft");
        let closed = draft
            .patched(json!({"availability": false}))
            .expect("a good patch");
        assert_eq!(closed.availability, Availability::Now(false));
        assert_eq!(closed.title, "Ladder");
        let open = closed
            .patched(json!({"availability": null}))
            .expect("a good patch");
        assert_eq!(open, draft);
        assert!(draft.patched(json!({"title": null})).is_err());
        assert!(draft.patched(json!([])).is_err());
    }
}
