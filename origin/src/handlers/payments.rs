//! What a payment provider tells, and the provider's own page where that is the sandbox.

use super::author::Author;
use super::bookings;
use super::json_body::JsonBody;
use super::path::{Id, Named};
use super::problem::Problem;
use super::representation::Representation;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::fields::Fields;
use crate::domain::payment::{Event, State as PaymentState};
use crate::domain::random::hex;
use crate::payments::{SIGNATURE, Unbelievable};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde_json::json;
use std::sync::Arc;

pub async fn show(
    State(app): State<Arc<App>>,
    author: Author,
    Id(id): Id,
) -> Result<Response, Problem> {
    let payment = app.store.payment(id).await?;
    let payment = payment.ok_or_else(|| Problem::no_such("payment"))?;
    let booking = bookings::find(&app, payment.booking, &author).await;
    booking.map_err(|_| Problem::no_such("payment"))?;
    Ok(Representation::json(&payment).private())
}

/// Acknowledged as soon as it is kept: a provider tells again what nobody acknowledged.
pub async fn webhook(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    hear(&app, signature.unwrap_or_default(), &body).await?;
    Ok(Representation::json(&json!({ "received": true })).written(StatusCode::ACCEPTED, ""))
}

/// Stands for the provider's page, where whoever knows the payment's name may pay, or be refused.
pub async fn check_out(
    State(app): State<Arc<App>>,
    Named(reference): Named,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let mut fields = Fields::of(body)?;
    let outcomes = [PaymentState::Paid, PaymentState::Failed];
    let outcome = fields.word("outcome", &outcomes);
    fields.fault_unless(outcome.is_some(), "outcome", "is required");
    let outcome = fields.finish(outcome)?.unwrap_or(PaymentState::Failed);
    let known = app.store.payment_by_reference(&reference).await?;
    known.ok_or_else(|| Problem::no_such("payment"))?;

    let event = Event {
        id: format!("evt-{}", hex::<16>()),
        kind: format!("payment.{outcome}"),
        payment: reference,
    };
    let (body, signature) = app.sandbox.webhook(&event, Moment::now());
    hear(&app, &signature, body.as_bytes()).await?;
    Ok(Representation::json(&event).written(StatusCode::ACCEPTED, ""))
}

async fn hear(app: &App, signature: &str, body: &[u8]) -> Result<(), Problem> {
    let now = Moment::now();
    let event = app.provider.read(signature, body, now)?;
    app.store.hear_event(&event, now).await?;
    app.work.notify_one();
    Ok(())
}

impl From<Unbelievable> for Problem {
    fn from(reason: Unbelievable) -> Self {
        match reason {
            Unbelievable::Unsigned => Self::new(
                StatusCode::UNAUTHORIZED,
                "The signature is missing, wrong or too old.",
            ),
            Unbelievable::NoEvent => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "This is no event: {\"id\", \"type\", \"payment\"}.",
            ),
        }
    }
}
