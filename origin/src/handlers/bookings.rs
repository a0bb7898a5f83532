//! Booking what others lend, and paying for it.

use super::author::Author;
use super::idempotency::IdempotencyKey;
use super::json_body::JsonBody;
use super::listings::{BOOKED, find as find_listing, tags};
use super::path::Id;
use super::problem::Problem;
use super::query::{Asked, AskedPage};
use super::representation::Representation;
use crate::app::App;
use crate::domain::booking::{Booking, Side, State as BookingState, Wish};
use crate::domain::days::{Days, written};
use crate::domain::search::SearchQuery;
use crate::domain::user::Role;
use crate::store::{Booked, StartedPayment};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

pub async fn book(
    State(app): State<Arc<App>>,
    author: Author,
    key: IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let wish = Wish::read(body, author.at.day())?;
    if find_listing(&app, wish.listing).await?.owner.id == author.id() {
        return Err(Problem::forbidden("Nobody borrows from themselves."));
    }
    let Days { first, last } = wish.days;
    let key = key.of(&format!("book {} {first} {last}", wish.listing));
    let id = match app
        .store
        .book(author.id(), &wish, &key, author.by())
        .await?
    {
        Booked::Yes(id) => id,
        Booked::KeyReused => return Err(IdempotencyKey::reused()),
        Booked::Taken => return Err(Problem::conflict("Somebody has one of these days.")),
        Booked::NotLent => {
            let detail = "It is not lent on all of these days.";
            return Err(Problem::conflict(detail));
        }
    };
    let booking = Representation::json(&find(&app, id, &author).await?);
    let path = format!("/api/v1/bookings/{id}");
    Ok(booking.placed(path, StatusCode::CREATED, &tags(wish.listing)))
}

pub async fn list(
    State(app): State<Arc<App>>,
    author: Author,
    AskedPage(page): AskedPage,
) -> Result<Response, Problem> {
    let found = app
        .store
        .bookings(author.id(), page.before(), page.limit + 1);
    Ok(Representation::page(&page, found.await?, |booking| booking.id).private())
}

pub async fn show(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    Ok(Representation::json(&find(&app, id, &author).await?).private())
}

/// Cancelling what is cancelled changes nothing, and is no mistake.
pub async fn cancel(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    let booking = find(&app, id, &author).await?;
    let side = match author.id() == booking.borrower && !author.may(Role::Staff) {
        true => Side::Borrower,
        false => Side::Lender,
    };
    if let Some(reason) = booking.is_past_cancelling(side, author.at.day()) {
        return Err(Problem::conflict(format!(
            "It can't be cancelled. {reason}"
        )));
    }
    if app.store.cancel(&booking, author.by()).await? {
        app.work.notify_one();
    }
    let now = find(&app, id, &author).await?;
    // Paid for, or given back, in this moment.
    if now.state != BookingState::Cancelled {
        let detail = "It has changed meanwhile; look at it, and try again.";
        return Err(Problem::conflict(detail));
    }
    Ok(Representation::json(&now).written(StatusCode::OK, &tags(booking.listing)))
}

/// Which days of a listing are taken. `from` and `to` are those of a search.
pub async fn availability(
    State(app): State<Arc<App>>,
    Id(id): Id,
    Asked(query): Asked<SearchQuery>,
) -> Result<Response, Problem> {
    let search = query.check().map_err(Problem::bad_query)?;
    let Some(days) = search.days.filter(|days| days.count() <= 366) else {
        let rule = "and `to` must be days, as 2026-05-31, at most 366";
        return Err(Problem::malformed("from", rule));
    };
    let listing = find_listing(&app, id).await?;
    let taken = app.store.taken_days(id, days).await?;
    let lent = !listing.draft.archived && listing.draft.availability.covers(days);
    let answer = json!({
        "from": written(days.first), "to": written(days.last),
        "free": lent && taken.is_empty(), "taken": taken,
    });
    let tag = super::listings::tag(id);
    Ok(Representation::json(&answer).answer(BOOKED, &tag))
}

pub async fn pay(
    State(app): State<Arc<App>>,
    author: Author,
    key: IdempotencyKey,
    Id(id): Id,
) -> Result<Response, Problem> {
    let booking = find(&app, id, &author).await?;
    if booking.borrower != author.id() {
        return Err(Problem::forbidden("Who has booked it pays for it."));
    }
    if booking.state == BookingState::Cancelled {
        return Err(not_due());
    }
    let intention = intention(author.id(), id, &key);
    let key = key.of(&format!("pay {id}"));
    let begun = app.provider.begin(&intention, booking.price_cents).await?;
    let started = app.store.start_payment(&booking, &begun, &key, author.by());
    let payment = match started.await? {
        StartedPayment::Yes(payment) => payment,
        StartedPayment::KeyReused => return Err(IdempotencyKey::reused()),
        StartedPayment::NotDue => return Err(not_due()),
    };
    let found = app.store.payment(payment).await?;
    let created = found.ok_or_else(|| Problem::no_such("payment"))?;
    let path = format!("/api/v1/payments/{payment}");
    Ok(Representation::json(&created).placed(path, StatusCode::CREATED, ""))
}

/// A booking is its borrower's and its listing's owner's business, and that of the staff; for all others
/// there is none.
pub async fn find(app: &App, id: i64, author: &Author) -> Result<Booking, Problem> {
    let concerned = |booking: &Booking| {
        [booking.borrower, booking.owner].contains(&author.id()) || author.may(Role::Staff)
    };
    let booking = app.store.booking(id).await?.filter(concerned);
    booking.ok_or_else(|| Problem::no_such("booking"))
}

fn not_due() -> Problem {
    Problem::conflict("There is nothing to pay for this booking.")
}

/// The same only where the same booking is to be paid: keys are forgotten after a day, payments are not.
fn intention(borrower: i64, booking: i64, key: &IdempotencyKey) -> String {
    format!("{borrower} {booking} {}", key.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_means_another_payment_for_another_booking() {
        let key = IdempotencyKey("k".into());
        assert_eq!(intention(1, 2, &key), intention(1, 2, &key));
        assert_ne!(intention(1, 2, &key), intention(1, 3, &key));
    }
}
