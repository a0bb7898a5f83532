//! Bookings. That a day is taken once is the database's rule (the key of `booked_days`), not a lock in some
//! process; a booking and its days are written together or not at all.

use super::idempotency::{Key, Known, remember, seen};
use super::jobs::enqueue;
use super::letters::tell_of_booking;
use super::users::parsed;
use super::{By, Store, Writing, audit::note};
use crate::domain::booking::{Booking, HOLD_SECONDS, State, Wish};
use crate::domain::clock::Moment;
use crate::domain::days::{Days, day, written};
use crate::domain::job::Kind;
use crate::domain::letter::News;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, FromRow, Result, Row, query, query_as, query_scalar};
use time::Date;

pub enum Booked {
    /// Now, or when the same was asked under the same key before.
    Yes(i64),
    /// The key stands for another question.
    KeyReused,
    /// Somebody has one of the days.
    Taken,
    /// Not on these days, as far as its owner says, or not any more.
    NotLent,
}

macro_rules! select_bookings {
    ($which:literal) => {
        concat!(
            "SELECT b.*, l.owner_id FROM bookings b JOIN listings l ON l.id = b.listing_id ",
            $which
        )
    };
}

impl Store {
    pub async fn book(&self, borrower: i64, wish: &Wish, key: &Key, by: By) -> Result<Booked> {
        let mut writing = self.write().await?;
        match seen(&mut writing, borrower, key, by.at).await? {
            Known::No => {}
            // Whoever asks again may be shown it by a replica.
            Known::Result(booking) => {
                writing.commit().await?;
                return Ok(Booked::Yes(booking));
            }
            Known::OtherQuestion => return Ok(Booked::KeyReused),
        }
        let Some(price) = price_if_lent(&mut writing, wish).await? else {
            return Ok(Booked::NotLent);
        };
        let total = price * wish.days.count();
        // What costs nothing needs no payment.
        let state = match total {
            0 => State::Confirmed,
            _ => State::Held,
        };
        let id = insert_booking(&mut writing, borrower, wish, state, total, by.at).await?;
        if !take_days(&mut writing, id, wish).await? {
            return Ok(Booked::Taken);
        }
        remember(&mut writing, borrower, key, id).await?;
        let detail = json!({ "listing": wish.listing, "state": state });
        note(&mut writing, by, "book", subject(id), detail).await?;
        let news = match state {
            State::Confirmed => News::Confirmed,
            _ => News::Held,
        };
        tell_of_booking(&mut writing, id, news, by.at).await?;
        writing.commit().await?;
        Ok(Booked::Yes(id))
    }

    pub async fn booking(&self, id: i64) -> Result<Option<Booking>> {
        query_as(select_bookings!("WHERE b.id = $1"))
            .bind(id)
            .fetch_optional(self.reader())
            .await
    }

    /// What somebody has borrowed or lent, newest first.
    pub async fn bookings(&self, user: i64, before: i64, most: u32) -> Result<Vec<Booking>> {
        query_as(select_bookings!(
            "WHERE (b.borrower_id = $1 OR l.owner_id = $1) AND b.id < $2 ORDER BY b.id DESC LIMIT $3"
        ))
        .bind(user)
        .bind(before)
        .bind(i64::from(most))
        .fetch_all(self.reader())
        .await
    }

    /// In order.
    pub async fn taken_days(&self, listing: i64, days: Days) -> Result<Vec<String>> {
        query_scalar(
            "SELECT day FROM booked_days WHERE listing_id = $1 AND day >= $2 AND day <= $3 \
             ORDER BY day",
        )
        .bind(listing)
        .bind(written(days.first))
        .bind(written(days.last))
        .fetch_all(self.reader())
        .await
    }

    /// Whether it still was as it was seen, and so is cancelled. What was paid is paid back.
    pub async fn cancel(&self, seen: &Booking, by: By) -> Result<bool> {
        let mut writing = self.write().await?;
        if !is_still(&mut writing, seen.id, seen.state).await? {
            return Ok(false);
        }
        cancel_in(&mut writing, seen.id, by).await?;
        writing.commit().await?;
        Ok(true)
    }

    /// Gives back what nobody paid for, and forgets what need not be known any longer.
    pub async fn sweep(&self, now: Moment) -> Result<()> {
        let held_since = now.plus_seconds(-HOLD_SECONDS).iso();
        let late: Vec<i64> = query_scalar(
            "SELECT id FROM bookings WHERE state = 'held' AND created_at < $1 ORDER BY id LIMIT 1000",
        )
        .bind(held_since)
        .fetch_all(self.reader())
        .await?;
        for id in late {
            let mut writing = self.write().await?;
            // Paid or cancelled meanwhile: then it stays as it is.
            if is_still(&mut writing, id, State::Held).await? {
                cancel_in(&mut writing, id, By::itself(now)).await?;
            }
            writing.commit().await?;
        }
        self.forget_keys(now).await?;
        self.forget_exports(now).await?;
        self.forget_files(now).await?;
        self.sweep_matches(now).await?;
        self.forget_leases(now).await
    }
}

/// The days are free again, and what was paid for them is to be paid back.
pub(super) async fn cancel_in(writing: &mut Writing, id: i64, by: By) -> Result<bool> {
    let done = query(
        "UPDATE bookings SET state = 'cancelled', updated_at = $1 \
         WHERE id = $2 AND state <> 'cancelled'",
    )
    .bind(by.at.iso())
    .bind(id)
    .execute(&mut **writing)
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    query("DELETE FROM booked_days WHERE booking_id = $1")
        .bind(id)
        .execute(&mut **writing)
        .await?;
    let paid: Vec<String> =
        query_scalar("SELECT reference FROM payments WHERE booking_id = $1 AND state = 'paid'")
            .bind(id)
            .fetch_all(&mut **writing)
            .await?;
    for reference in paid {
        enqueue(writing, Kind::Refund, &reference, by.at).await?;
    }
    note(writing, by, "cancel", subject(id), json!({})).await?;
    tell_of_booking(writing, id, News::Cancelled, by.at).await?;
    Ok(true)
}

pub(super) fn subject(id: i64) -> String {
    format!("booking {id}")
}

/// Its price for a day. Writing the row, though nothing in it changes, holds it against whoever would
/// archive it in the meantime.
async fn price_if_lent(writing: &mut Writing, wish: &Wish) -> Result<Option<i64>> {
    query_scalar(
        "UPDATE listings SET version = version WHERE id = $1 AND archived = 0 AND available = 1 \
         AND coalesce(available_from, '') <= $2 AND coalesce(available_to, '9999-12-31') >= $3 \
         RETURNING price_cents",
    )
    .bind(wish.listing)
    .bind(written(wish.days.first))
    .bind(written(wish.days.last))
    .fetch_optional(&mut **writing)
    .await
}

async fn insert_booking(
    writing: &mut Writing,
    borrower: i64,
    wish: &Wish,
    state: State,
    total: i64,
    now: Moment,
) -> Result<i64> {
    query_scalar(
        "INSERT INTO bookings (listing_id, borrower_id, first_day, last_day, state, price_cents, \
         created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $7) RETURNING id",
    )
    .bind(wish.listing)
    .bind(borrower)
    .bind(written(wish.days.first))
    .bind(written(wish.days.last))
    .bind(state.to_string())
    .bind(total)
    .bind(now.iso())
    .fetch_one(&mut **writing)
    .await
}

/// Whether all of them were free.
async fn take_days(writing: &mut Writing, booking: i64, wish: &Wish) -> Result<bool> {
    let listing = wish.listing;
    let row = |day: Date| format!("({listing}, '{}', {booking})", written(day));
    let rows: Vec<String> = wish.days.each().map(row).collect();
    let sql = format!(
        "INSERT INTO booked_days (listing_id, day, booking_id) VALUES {} \
         ON CONFLICT (listing_id, day) DO NOTHING",
        rows.join(", ")
    );
    // Numbers and days only.
    let taken = query(AssertSqlSafe(sql)).execute(&mut **writing).await?;
    Ok(taken.rows_affected() == rows.len() as u64)
}

/// In that state, which changes for nobody else until the end of the transaction.
async fn is_still(writing: &mut Writing, id: i64, state: State) -> Result<bool> {
    let held = query("UPDATE bookings SET state = state WHERE id = $1 AND state = $2")
        .bind(id)
        .bind(state.to_string())
        .execute(&mut **writing)
        .await?;
    Ok(held.rows_affected() == 1)
}

impl FromRow<'_, AnyRow> for Booking {
    fn from_row(row: &AnyRow) -> Result<Self> {
        let day_in = |column: &str| -> Result<Date> {
            let text: String = row.try_get(column)?;
            day(&text).ok_or_else(|| sqlx::Error::Decode("not a day".into()))
        };
        Ok(Self {
            id: row.try_get("id")?,
            listing: row.try_get("listing_id")?,
            borrower: row.try_get("borrower_id")?,
            from: day_in("first_day")?,
            to: day_in("last_day")?,
            state: parsed(row, "state")?,
            price_cents: row.try_get("price_cents")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            owner: row.try_get("owner_id")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::listing::Draft;
    use crate::settings::Settings;
    use clap::Parser;

    #[tokio::test]
    async fn days_that_nobody_pays_for_are_free_again_when_the_time_for_that_is_over() {
        let data = tempfile::tempdir().expect("a folder");
        let data_folder = data.path().to_str().expect("a plain name");
        let settings = Settings::parse_from(["lakh-origin", "--data", data_folder]);
        let store = Store::open(&settings).await.expect("a database");
        let now = Moment(1_780_272_000_000);
        let by = By::itself(now);
        let mut people = Vec::new();
        for name in ["ada", "bob"] {
            let email = format!("{name}@example.org");
            let made = store.insert_user(name, &email, "", by).await;
            people.push(made.expect("it is written").expect("it is free").id);
        }
        let draft = json!({"title": "Tent", "text": "x", "category": "travel", "price_cents": 500,
                           "place": "Lake Road"});
        let draft = Draft::read(draft).expect("a good listing");
        let listing = store.insert_listing(people[0], &draft, by).await;
        let listing = listing.expect("it is written");
        let day = day("2026-06-05").expect("a day");
        let days = Days {
            first: day,
            last: day,
        };
        let wish = Wish { listing, days };
        let key = |name: &str| Key::new(name.into(), "");
        let booked = store.book(people[1], &wish, &key("one"), by).await;
        let Ok(Booked::Yes(booking)) = booked else {
            panic!("the day is free")
        };

        for (after, state, taken) in [(0, State::Held, 1), (1, State::Cancelled, 0)] {
            let later = now.plus_seconds(HOLD_SECONDS + after);
            store.sweep(later).await.expect("it is swept");
            let found = store.booking(booking).await.expect("it is read");
            assert_eq!(found.map(|booking| booking.state), Some(state));
            let days = store
                .taken_days(listing, days)
                .await
                .expect("they are read");
            assert_eq!(days.len(), taken);
        }
        let again = store.book(people[1], &wish, &key("two"), by).await;
        assert!(matches!(again, Ok(Booked::Yes(_))));
    }
}
