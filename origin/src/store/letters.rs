//! Letters that have yet to be sent, written together with what they tell of: there is neither without the
//! other, and none is sent of what did not come to pass.

use super::jobs::{enqueue, finish_in};
use super::{Claim, Store, Writing};
use crate::domain::clock::Moment;
use crate::domain::days::{Days, day};
use crate::domain::event::Event;
use crate::domain::issue::{Change, Issue};
use crate::domain::job::Kind;
use crate::domain::letter::{Addressed, Letter, News};
use sqlx::any::AnyRow;
use sqlx::{Error, FromRow, Result, Row, query, query_as, query_scalar};

impl Store {
    /// None when it was sent, or whom it was for is gone.
    pub async fn letter(&self, id: i64) -> Result<Option<Addressed>> {
        query_as(
            "SELECT l.*, u.name, u.email FROM letters l JOIN users u ON u.id = l.user_id \
             WHERE l.id = $1",
        )
        .bind(id)
        .fetch_optional(self.nodes.writer()?)
        .await
    }

    /// Nothing of it is kept.
    pub async fn letter_sent(&self, claim: &Claim, id: i64) -> Result<()> {
        let mut writing = self.write().await?;
        if finish_in(&mut writing, claim).await? {
            query("DELETE FROM letters WHERE id = $1")
                .bind(id)
                .execute(&mut *writing)
                .await?;
            writing.commit().await?;
        }
        Ok(())
    }
}

/// Writes to the borrower and to the owner.
pub(super) async fn tell_of_booking(
    writing: &mut Writing,
    booking: i64,
    news: News,
    now: Moment,
) -> Result<()> {
    let (thing, first, last, borrower, owner): (String, String, String, i64, i64) = query_as(
        "SELECT l.title, b.first_day, b.last_day, b.borrower_id, l.owner_id \
         FROM bookings b JOIN listings l ON l.id = b.listing_id WHERE b.id = $1",
    )
    .bind(booking)
    .fetch_one(&mut **writing)
    .await?;
    let not_a_day = || Error::Decode("not a day".into());
    let days = Days {
        first: day(&first).ok_or_else(not_a_day)?,
        last: day(&last).ok_or_else(not_a_day)?,
    };
    let letter = Letter::of_booking(news, booking, &thing, days);
    for user in [borrower, owner] {
        write_to(writing, user, &letter, now).await?;
    }
    Ok(())
}

/// Writes to who reported it.
pub(super) async fn tell_of_issue(
    writing: &mut Writing,
    issue: &Issue,
    change: &Change,
    now: Moment,
) -> Result<()> {
    let letter = Letter::of_issue(issue.id, &issue.report.title, change.state, &change.note);
    write_to(writing, issue.reporter, &letter, now).await
}

/// Writes to whom a place is offered.
pub(super) async fn tell_of_offer(
    writing: &mut Writing,
    person: i64,
    event: &Event,
    now: Moment,
) -> Result<()> {
    let draft = &event.draft;
    let letter = Letter::of_offer(event.id, &draft.title, &draft.place, draft.time.from);
    write_to(writing, person, &letter, now).await
}

async fn write_to(writing: &mut Writing, user: i64, letter: &Letter, now: Moment) -> Result<()> {
    let id: i64 = query_scalar(
        "INSERT INTO letters (user_id, title, text, created_at) VALUES ($1, $2, $3, $4) RETURNING id",
    )
    .bind(user)
    .bind(letter.title.clone())
    .bind(letter.text.clone())
    .bind(now.iso())
    .fetch_one(&mut **writing)
    .await?;
    enqueue(writing, Kind::Letter, &id.to_string(), now).await
}

impl FromRow<'_, AnyRow> for Addressed {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            name: row.try_get("name")?,
            email: row.try_get("email")?,
            letter: Letter {
                title: row.try_get("title")?,
                text: row.try_get("text")?,
            },
            created_at: row.try_get("created_at")?,
        })
    }
}
