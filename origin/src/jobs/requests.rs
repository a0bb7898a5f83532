//! What devices ask, and how many workers that takes.

use super::Failure;
use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::job::{Kind, workers_for};
use crate::store::Claim;
use std::sync::Arc;
use std::time::Duration;
use tokio::{select, sync::watch, time};

const SCALE_EVERY: Duration = Duration::from_millis(500);

pub async fn answer(app: &App, claim: &Claim) -> Result<(), Failure> {
    let not_a_number = |_| Failure::ForGood("not a request's number".into());
    let id: i64 = claim.subject.parse().map_err(not_a_number)?;
    let Some(request) = app.store.request(id).await? else {
        return Err(Failure::ForGood("there is no such request".into()));
    };
    let answer = app.processor.process(&request.text).await?;
    if app.store.respond(claim, id, &answer, Moment::now()).await? {
        app.hub.wake_all();
    }
    Ok(())
}

/// Wants more workers when requests pile up, and fewer when they don't.
pub async fn scale(app: Arc<App>, wanted: Arc<watch::Sender<usize>>) {
    let mut stopping = app.stopping.subscribe();
    while !*stopping.borrow() {
        // Without an answer it stays as it is.
        if let Ok(waiting) = app.store.waiting(Kind::Request).await {
            let now = workers_for(waiting);
            wanted.send_if_modified(|workers| std::mem::replace(workers, now) != now);
        }
        select! {
            () = time::sleep(SCALE_EVERY) => {}
            _ = stopping.changed() => {}
        }
    }
}
