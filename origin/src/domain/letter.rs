//! What people are written when something happens that concerns them and that somebody else did.

use super::clock::Moment;
use super::days::{Days, written};
use super::issue;

#[derive(Debug, Clone, PartialEq)]
pub struct Letter {
    pub title: String,
    pub text: String,
}

/// A letter, and to whom it goes.
pub struct Addressed {
    pub id: i64,
    pub name: String,
    pub email: String,
    pub letter: Letter,
    /// In ISO 8601.
    pub created_at: String,
}

/// What became of a booking.
#[derive(Clone, Copy)]
pub enum News {
    /// The days are taken, and not paid for yet.
    Held,
    Confirmed,
    Cancelled,
}

impl Letter {
    pub fn of_booking(news: News, booking: i64, thing: &str, days: Days) -> Self {
        let (word, sentence) = match news {
            News::Held => (
                "Reserved",
                "is reserved until it is paid for, or the time for that is over",
            ),
            News::Confirmed => ("Booked", "is booked"),
            News::Cancelled => ("Cancelled", "is free again: the booking was cancelled"),
        };
        let thing = one_line(thing);
        let days = match days.count() {
            1 => format!("On {}", written(days.first)),
            _ => format!("From {} to {}", written(days.first), written(days.last)),
        };
        Self {
            title: format!("{word}: {thing}"),
            text: format!("{days} \"{thing}\" {sentence}.\n\nBooking {booking}\n"),
        }
    }

    pub fn of_offer(event: i64, title: &str, place: &str, from: Moment) -> Self {
        let (title, place, from) = (one_line(title), one_line(place), from.iso());
        Self {
            title: format!("There is a place for you: {title}"),
            text: format!(
                "\"{title}\" is at {place}, and begins {from}. Will you come?\n\nEvent {event}\n"
            ),
        }
    }

    pub fn of_issue(issue: i64, title: &str, state: issue::State, note: &str) -> Self {
        let title = one_line(title);
        let state = state.to_string().replace('_', " ");
        let note = match note {
            "" => String::new(),
            note => format!("\n{note}\n"),
        };
        Self {
            title: format!("Your report is {state}: {title}"),
            text: format!("What you reported as \"{title}\" is {state}.\n{note}\nIssue {issue}\n"),
        }
    }
}

/// A title is a line of a mail's head.
fn one_line(text: &str) -> String {
    let line = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    line.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::days::day;

    #[test]
    fn a_booking_is_told_of_in_days() {
        let day = |text| day(text).expect("a day");
        let days = |first, last| Days {
            first: day(first),
            last: day(last),
        };
        let several = days("2026-05-31", "2026-06-02");
        let letter = Letter::of_booking(News::Confirmed, 5, "A\r\nBcc: tent", several);
        assert_eq!(letter.title, "Booked: A  Bcc: tent");
        let text = "From 2026-05-31 to 2026-06-02 \"A  Bcc: tent\" is booked.\n\nBooking 5\n";
        assert_eq!(letter.text, text);
        let one = days("2026-05-31", "2026-05-31");
        let letter = Letter::of_booking(News::Cancelled, 5, "Tent", one);
        assert!(letter.text.starts_with("On 2026-05-31 \"Tent\" is free"));
    }

    #[test]
    fn an_issue_is_told_of_with_the_note() {
        let letter = Letter::of_issue(7, "Broken", issue::State::InProgress, "Bob looks at it.");
        assert_eq!(letter.title, "Your report is in progress: Broken");
        assert!(letter.text.contains("\n\nBob looks at it.\n\nIssue 7"));
    }
}
