//! A booking: a listing is somebody's for some days.

use super::days::{Days, serialize_day};
use super::fields::{Fields, Invalid};
use super::words::words;
use serde::Serialize;
use serde_json::Value;
use time::{Date, Duration};

const MOST_DAYS: i64 = 90;
const MOST_AHEAD: Duration = Duration::days(730);

/// Days are kept for who has not paid yet no longer than this.
pub const HOLD_SECONDS: i64 = 30 * 60;

words! {
    pub enum State {
        /// The days are taken, and not paid for.
        Held = "held",
        Confirmed = "confirmed",
        /// The days are free again.
        Cancelled = "cancelled",
    }
}

#[derive(Serialize)]
pub struct Booking {
    pub id: i64,
    pub listing: i64,
    pub borrower: i64,
    #[serde(serialize_with = "serialize_day")]
    pub from: Date,
    #[serde(serialize_with = "serialize_day")]
    pub to: Date,
    pub state: State,
    /// For all days together.
    pub price_cents: i64,
    pub created_at: String,
    pub updated_at: String,
    #[serde(skip)]
    pub owner: i64,
}

/// Who would cancel a booking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Side {
    Borrower,
    /// Who lends it, or the staff: what is paid back is theirs to give.
    Lender,
}

impl Booking {
    /// Why it can't be cancelled any more by that side. Until somebody has paid for it, it can; then by both sides
    /// until it begins, and by who lends it until it is over. Days are those of UTC.
    pub fn is_past_cancelling(&self, side: Side, today: Date) -> Option<&'static str> {
        if self.state != State::Confirmed || today < self.from {
            return None;
        }
        if today > self.to {
            return Some("Its days are over.");
        }
        let detail =
            "It has begun; whoever lends it, or the staff, may still cancel it and pay it back.";
        (side == Side::Borrower).then_some(detail)
    }
}

/// What a borrower asks for.
#[derive(Debug, PartialEq)]
pub struct Wish {
    pub listing: i64,
    pub days: Days,
}

impl Wish {
    pub fn read(body: Value, today: Date) -> Result<Self, Invalid> {
        let mut fields = Fields::of(body)?;
        let listing = fields.integer("listing", 1..=i64::MAX);
        let days = Days {
            first: fields.day("from"),
            last: fields.day("to"),
        };
        fields.fault_unless(days.first >= today, "from", "must not be in the past");
        fields.fault_unless(days.first <= days.last, "to", "must not be before `from`");
        let near = days.last <= today.saturating_add(MOST_AHEAD);
        fields.fault_unless(near, "to", "must be within the next two years");
        let few = days.count() <= MOST_DAYS;
        fields.fault_unless(few, "to", "must be within 90 days from `from`");
        fields.finish(Self { listing, days })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::days::day;
    use serde_json::json;

    #[test]
    fn both_sides_cancel_until_it_begins_and_the_lender_until_it_is_over() {
        let on = |text: &str| day(text).expect("a day");
        let booking = |state| Booking {
            id: 1,
            listing: 2,
            borrower: 3,
            from: on("2026-06-05"),
            to: on("2026-06-06"),
            state,
            price_cents: 500,
            created_at: String::new(),
            updated_at: String::new(),
            owner: 4,
        };
        for (today, borrower_may, lender_may) in [
            ("2026-06-04", true, true),
            ("2026-06-05", false, true),
            ("2026-06-06", false, true),
            ("2026-06-07", false, false),
        ] {
            let may = |side, state| {
                let past = booking(state).is_past_cancelling(side, on(today));
                past.is_none()
            };
            assert_eq!(may(Side::Borrower, State::Confirmed), borrower_may);
            assert_eq!(may(Side::Lender, State::Confirmed), lender_may);
            for state in [State::Held, State::Cancelled] {
                assert!(may(Side::Borrower, state), "nothing was paid");
            }
        }
    }

    #[test]
    fn days_lie_ahead_run_forward_and_are_few() {
        let today = day("2026-05-31").expect("a day");
        let is_good = |from: &str, to: &str| {
            let body = json!({"listing": 5, "from": from, "to": to});
            Wish::read(body, today).is_ok()
        };
        assert!(is_good("2026-05-31", "2026-05-31"));
        assert!(is_good("2026-06-01", "2026-08-29"));
        assert!(!is_good("2026-06-01", "2026-08-30"));
        assert!(!is_good("2026-05-30", "2026-06-01"));
        assert!(!is_good("2026-06-02", "2026-06-01"));
        assert!(!is_good("2029-06-02", "2029-06-02"));
        let Err(Invalid(faults)) = Wish::read(json!({"to": 5}), today) else {
            panic!("it should be refused");
        };
        let named: Vec<_> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(named, ["listing", "from", "to"]);
    }
}
