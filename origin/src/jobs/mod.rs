//! Work beside the requests: what comes out of the queue, whichever process put it there.

pub mod demo;

mod behind;
mod exports;
mod files;
mod folder;
mod letters;
mod matching;
mod payments;
mod renditions;
mod repairs;
mod requests;
mod sweep;

use crate::app::App;
use crate::domain::clock::Moment;
use crate::domain::job::{Kind, Lane, MOST_REQUEST_WORKERS, State, workers_for};
use crate::observe::log;
use crate::storage::Unavailable;
use crate::store::{Claim, Store};
use serde_json::json;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::{select, sync::watch, time};

/// In each process.
const WORKERS: usize = 5;
const LETTER_WORKERS: usize = 2;
const FILE_WORKERS: usize = 2;

/// Jobs put there by this process are seen at once, those of others after this.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Why a job failed, for whoever reads the list of dead ones.
pub enum Failure {
    /// May go better next time.
    Passing(String),
    ForGood(String),
}

pub struct Workers(JoinSet<()>);

impl Workers {
    pub fn start(app: &Arc<App>) -> Self {
        let mut workers: JoinSet<()> = (0..WORKERS)
            .map(|_| work(app.clone(), Lane::Work))
            .collect();
        for _ in 0..LETTER_WORKERS {
            workers.spawn(work(app.clone(), Lane::Letters));
        }
        for _ in 0..FILE_WORKERS {
            workers.spawn(work(app.clone(), Lane::Files));
        }
        let wanted = Arc::new(watch::Sender::new(workers_for(0)));
        for place in 0..MOST_REQUEST_WORKERS {
            workers.spawn(work_while_wanted(app.clone(), wanted.subscribe(), place));
        }
        workers.spawn(requests::scale(app.clone(), wanted));
        workers.spawn(folder::watch(app.clone()));
        workers.spawn(repairs::watch(app.clone()));
        workers.spawn(sweep::sweep(app.clone()));
        Self(workers)
    }

    /// Waits for the jobs that have begun; once the process is stopping no others do.
    pub async fn finish(mut self) {
        while self.0.join_next().await.is_some() {}
    }
}

async fn work(app: Arc<App>, lane: Lane) {
    while !*app.stopping.borrow() {
        look(&app, lane).await;
    }
}

/// Works while as many are wanted as there are places before this one, and this one.
async fn work_while_wanted(app: Arc<App>, mut wanted: watch::Receiver<usize>, place: usize) {
    let mut stopping = app.stopping.subscribe();
    while !*stopping.borrow() {
        let is_wanted = place < *wanted.borrow_and_update();
        match is_wanted {
            true => look(&app, Lane::Requests).await,
            false => select! {
                changed = wanted.changed() => if changed.is_err() { return },
                _ = stopping.changed() => {}
            },
        }
    }
}

/// Does one job, or waits until there may be one.
async fn look(app: &App, lane: Lane) {
    let mut stopping = app.stopping.subscribe();
    let now = Moment::now();
    for store in app.queues(lane) {
        match store.claim(lane, app.lease_end(now), now).await {
            Ok(Some(claim)) => return carry_out(app, store, &claim).await,
            Ok(None) => {}
            Err(error) => log::error("queue", json!({ "reason": error.to_string() })),
        }
    }
    select! {
        () = app.work_in(lane).notified() => {}
        () = time::sleep(LOOK_EVERY) => {}
        // The other end is as old as the application.
        _ = stopping.changed() => {}
    }
}

/// `store`: whose queue it was taken from.
async fn carry_out(app: &App, store: &Store, claim: &Claim) {
    let start = Instant::now();
    let job = in_time(claim.kind, async {
        match claim.kind {
            Kind::Drawing => demo::draw(app, claim).await,
            Kind::Photo => renditions::make(app, claim).await,
            Kind::Request => requests::answer(app, store, claim).await,
            Kind::PaymentEvent => payments::apply(app, claim).await,
            Kind::Letter => letters::send(app, claim).await,
            Kind::Export => exports::make(app, claim).await,
            Kind::Refund => payments::refund(app, claim).await,
            Kind::FileCheck => files::check(app, claim).await,
            Kind::FileCopies => files::copy(app, claim).await,
            Kind::FileRemoval => files::remove(app, claim).await,
            Kind::Matching => matching::round(app, claim).await,
        }
    });
    let outcome = match while_held(app, store, claim, job).await {
        Some(Ok(())) => "done",
        Some(Err(failure)) => give_up(store, claim, failure).await,
        None => "lost",
    };
    app.metrics.worked(claim.kind, outcome, start.elapsed());
}

/// No longer than a job of that kind may take.
async fn in_time(
    kind: Kind,
    job: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let longest = kind.longest();
    let late = |_| Err(Failure::Passing(format!("it took more than {longest:?}")));
    time::timeout(longest, job).await.unwrap_or_else(late)
}

/// None when the job was taken over by somebody else, who took this worker for dead.
async fn while_held<T>(
    app: &App,
    store: &Store,
    claim: &Claim,
    job: impl Future<Output = T>,
) -> Option<T> {
    let mut job = std::pin::pin!(job);
    loop {
        select! {
            outcome = &mut job => return Some(outcome),
            () = time::sleep(app.lease / 3) => {}
        }
        // A database that doesn't answer has given the job to nobody else either.
        let end = app.lease_end(Moment::now());
        if let Ok(false) = store.renew(claim, end).await {
            return None;
        }
    }
}

async fn give_up(store: &Store, claim: &Claim, failure: Failure) -> &'static str {
    let (reason, again) = match failure {
        Failure::Passing(reason) => (reason, true),
        Failure::ForGood(reason) => (reason, false),
    };
    let about = json!({ "kind": claim.kind, "job": claim.id, "attempt": claim.attempt,
                        "reason": &reason });
    log::error("job_failed", about);
    match store.fail(claim, &reason, again, Moment::now()).await {
        Ok(State::Dead) => "dead",
        // Without an answer from the database the lease runs out, which leads to the same.
        _ => "again",
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<Unavailable> for Failure {
    fn from(error: Unavailable) -> Self {
        Self::Passing(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Passing(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::device::DeviceName;
    use crate::settings::Settings;
    use crate::store::By;
    use clap::Parser;

    const KILLED: Moment = Moment(1_780_272_000_000);

    #[tokio::test(start_paused = true)]
    async fn a_job_that_waits_for_who_does_not_answer_is_given_up_and_tried_again() {
        for kind in Kind::ALL.iter().copied() {
            let (longest, margin) = (kind.longest(), Duration::from_secs(1));
            let after = async |time| {
                let answered = async {
                    time::sleep(time).await;
                    Ok(())
                };
                in_time(kind, answered).await
            };
            assert!(after(longest - margin).await.is_ok(), "{kind}");
            let late = after(longest + margin).await;
            assert!(
                matches!(&late, Err(Failure::Passing(reason)) if reason.contains("more than")),
                "{kind}"
            );
        }
        assert!(Kind::FileCopies.longest() > Kind::Refund.longest());
    }

    /// As others look while they wait, without anybody telling them.
    #[tokio::test]
    async fn the_request_of_a_killed_worker_is_another_one_s_within_thirty_seconds() {
        let data = tempfile::tempdir().expect("a folder");
        let settings =
            Settings::parse_from(["lakh-origin".as_ref(), "--data".as_ref(), data.path()]);
        let store = Store::open(&settings).await.expect("a database");
        let lease = settings.lease().as_secs().cast_signed();
        let claim = async |now: Moment| {
            let until = now.plus_seconds(lease);
            let claim = store.claim(Lane::Requests, until, now).await;
            claim.expect("it is read")
        };
        let device: DeviceName = "kiosk".parse().expect("a good name");
        let asked = store.ask(&device, "x", None, By::itself(KILLED)).await;
        let id = asked.expect("it is written").expect("it is new");
        let held = claim(KILLED).await.expect("it is due");
        // The moment before it is killed.
        let until = KILLED.plus_seconds(lease);
        assert!(store.renew(&held, until).await.expect("it is written"));

        let step = i64::try_from(LOOK_EVERY.as_millis()).expect("half a second");
        let mut now = KILLED;
        let taken = loop {
            now = Moment(now.0 + step);
            if let Some(taken) = claim(now).await {
                break taken;
            }
        };
        let silent = now.0 - KILLED.0;
        assert!(
            (lease * 1_000..30_000).contains(&silent),
            "after {silent} ms"
        );
        assert_eq!((taken.id, taken.attempt), (held.id, held.attempt + 1));
        for (claim, counts) in [(&held, false), (&taken, true)] {
            let answered = store.respond(claim, id, "y", now).await;
            assert_eq!(answered.expect("it is written"), counts);
        }
    }
}
