//! Payments, and what their provider told. An event is kept before it is acknowledged, once; what follows
//! from it is written together with the end of the job that looked at it.

use super::bookings::{cancel_in, subject};
use super::idempotency::{Key, Known, remember, seen};
use super::jobs::{enqueue, finish_in};
use super::letters::tell_of_booking;
use super::users::parsed;
use super::{By, Claim, Store, Writing, audit::note};
use crate::domain::booking::Booking;
use crate::domain::clock::Moment;
use crate::domain::job::Kind;
use crate::domain::letter::News;
use crate::domain::payment::{Event, Payment, State};
use crate::payments::Begun;
use serde_json::json;
use sqlx::any::AnyRow;
use sqlx::{FromRow, Result, Row, query, query_as, query_scalar};

pub enum StartedPayment {
    Yes(i64),
    KeyReused,
    /// Its booking is paid for, or cancelled.
    NotDue,
}

pub enum Applied {
    Done {
        /// Whether something is to be paid back.
        refund: bool,
    },
    UnknownPayment,
    Unreadable,
}

impl Store {
    pub async fn start_payment(
        &self,
        booking: &Booking,
        begun: &Begun,
        key: &Key,
        by: By,
    ) -> Result<StartedPayment> {
        let mut writing = self.write().await?;
        match seen(&mut writing, booking.borrower, key, by.at).await? {
            Known::No => {}
            // Whoever asks again may be shown it by a replica.
            Known::Result(payment) => {
                writing.commit().await?;
                return Ok(StartedPayment::Yes(payment));
            }
            Known::OtherQuestion => return Ok(StartedPayment::KeyReused),
        }
        let id: Option<i64> = query_scalar(
            "INSERT INTO payments (booking_id, amount_cents, reference, checkout, state, created_at, \
             updated_at) SELECT id, price_cents, $1, $2, 'pending', $3, $3 FROM bookings \
             WHERE id = $4 AND state = 'held' ON CONFLICT (reference) DO NOTHING RETURNING id",
        )
        .bind(begun.reference.clone())
        .bind(begun.checkout.clone())
        .bind(by.at.iso())
        .bind(booking.id)
        .fetch_optional(&mut *writing)
        .await?;
        let Some(id) = id else {
            return Ok(StartedPayment::NotDue);
        };
        remember(&mut writing, booking.borrower, key, id).await?;
        note(
            &mut writing,
            by,
            "pay",
            subject(booking.id),
            json!({ "payment": id }),
        )
        .await?;
        writing.commit().await?;
        Ok(StartedPayment::Yes(id))
    }

    pub async fn payment(&self, id: i64) -> Result<Option<Payment>> {
        query_as("SELECT * FROM payments WHERE id = $1")
            .bind(id)
            .fetch_optional(self.reader())
            .await
    }

    pub async fn payment_by_reference(&self, reference: &str) -> Result<Option<Payment>> {
        query_as("SELECT * FROM payments WHERE reference = $1")
            .bind(reference)
            .fetch_optional(self.reader())
            .await
    }

    /// Keeps an event for a worker. One that was told before changes nothing.
    pub async fn hear_event(&self, event: &Event, now: Moment) -> Result<()> {
        let mut writing = self.write().await?;
        let body = serde_json::to_string(event).expect("an event has only text keys");
        let heard = query(
            "INSERT INTO payment_events (event, body, at) VALUES ($1, $2, $3) \
             ON CONFLICT (event) DO NOTHING",
        )
        .bind(event.id.clone())
        .bind(body)
        .bind(now.iso())
        .execute(&mut *writing)
        .await?;
        // Its job may have been forgotten since.
        if heard.rows_affected() == 1 {
            enqueue(&mut writing, Kind::PaymentEvent, &event.id, now).await?;
        }
        writing.commit().await
    }

    pub async fn apply_event(&self, claim: &Claim, now: Moment) -> Result<Applied> {
        let mut writing = self.write().await?;
        let body: Option<String> = query_scalar("SELECT body FROM payment_events WHERE event = $1")
            .bind(claim.subject.clone())
            .fetch_optional(&mut *writing)
            .await?;
        let event: Option<Event> = body.and_then(|body| serde_json::from_str(&body).ok());
        let Some(event) = event else {
            return Ok(Applied::Unreadable);
        };
        // What is no news about payments needs nothing done.
        let mut refund = false;
        let mut outcome = "nothing to do";
        if let Some(state) = event.state() {
            let Some(payment) = held(&mut writing, &event.payment).await? else {
                return Ok(Applied::UnknownPayment);
            };
            outcome = "outdated";
            if payment.state < state {
                refund = advance(&mut writing, &payment, state, now).await?;
                outcome = "applied";
            }
        }
        query("UPDATE payment_events SET outcome = $1 WHERE event = $2")
            .bind(outcome)
            .bind(event.id)
            .execute(&mut *writing)
            .await?;
        // Not ours any more: then somebody else has done all this, or will.
        if finish_in(&mut writing, claim).await? {
            writing.commit().await?;
        }
        Ok(Applied::Done { refund })
    }
}

/// The payment of that reference, which changes for nobody else until the end of the transaction: of two events
/// at once, the second one sees what came of the first.
async fn held(writing: &mut Writing, reference: &str) -> Result<Option<Payment>> {
    query_as("UPDATE payments SET state = state WHERE reference = $1 RETURNING *")
        .bind(reference)
        .fetch_optional(&mut **writing)
        .await
}

/// Brings a payment to that state, and its booking to what follows. Whether the money goes back: it does
/// when it came for days that are not the payer's any more.
async fn advance(
    writing: &mut Writing,
    payment: &Payment,
    state: State,
    now: Moment,
) -> Result<bool> {
    let by = By::itself(now);
    query("UPDATE payments SET state = $1, updated_at = $2 WHERE id = $3")
        .bind(state.to_string())
        .bind(now.iso())
        .bind(payment.id)
        .execute(&mut **writing)
        .await?;
    let detail = json!({ "payment": payment.id, "state": state });
    note(writing, by, "payment", subject(payment.booking), detail).await?;
    match state {
        State::Paid => {
            let confirmed = query(
                "UPDATE bookings SET state = 'confirmed', updated_at = $1 \
                 WHERE id = $2 AND state = 'held'",
            )
            .bind(now.iso())
            .bind(payment.booking)
            .execute(&mut **writing)
            .await?;
            let in_vain = confirmed.rows_affected() == 0;
            match in_vain {
                true => enqueue(writing, Kind::Refund, &payment.reference, now).await?,
                false => tell_of_booking(writing, payment.booking, News::Confirmed, now).await?,
            }
            Ok(in_vain)
        }
        State::Refunded => {
            // Unless another payment is what it was confirmed by.
            let others: i64 = query_scalar(
                "SELECT count(*) FROM payments WHERE booking_id = $1 AND state = 'paid'",
            )
            .bind(payment.booking)
            .fetch_one(&mut **writing)
            .await?;
            if others == 0 {
                cancel_in(writing, payment.booking, by).await?;
            }
            Ok(false)
        }
        State::Pending | State::Failed => Ok(false),
    }
}

impl FromRow<'_, AnyRow> for Payment {
    fn from_row(row: &AnyRow) -> Result<Self> {
        Ok(Self {
            id: row.try_get("id")?,
            booking: row.try_get("booking_id")?,
            amount_cents: row.try_get("amount_cents")?,
            checkout: row.try_get("checkout")?,
            state: parsed(row, "state")?,
            created_at: row.try_get("created_at")?,
            updated_at: row.try_get("updated_at")?,
            reference: row.try_get("reference")?,
        })
    }
}
