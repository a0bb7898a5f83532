//! What follows from what a payment provider told, and paying back.

use super::Failure;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::store::{Applied, Claim};

/// An event may come before the payment is known here; then it is looked at again.
pub async fn apply(app: &App, claim: &Claim) -> Result<(), Failure> {
    match app.store.apply_event(claim, Moment::now()).await? {
        Applied::Done { refund } => {
            if refund {
                app.work.notify_one();
            }
            Ok(())
        }
        Applied::UnknownPayment => Err(Failure::Passing("there is no such payment".into())),
        Applied::Unreadable => Err(Failure::ForGood("it is no event about a payment".into())),
    }
}

pub async fn refund(app: &App, claim: &Claim) -> Result<(), Failure> {
    let asked = app.provider.refund(&claim.subject).await;
    asked.map_err(|error| Failure::Passing(error.to_string()))?;
    app.store.finish(claim).await?;
    app.work.notify_one();
    Ok(())
}
