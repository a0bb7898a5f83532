//! One transform, on the pool; and those that wait beside it for the same source.

use super::super::Edge;
use super::Work;
use crate::cache::{Filling, Key, Object};
use crate::observe::{Picture, Recent, SLOW_PICTURE};
use crate::pool::{PoolError, Started};
use crate::runtime::{Done, Images, Route, Ticket};
use crate::upstream::Response;
use bytes::Bytes;
use lakh_image::{Decoded, Limits, Plan, Rendition};
use prometheus::IntCounter;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::oneshot;
use tokio::task::yield_now;

/// On the queue or a thread.
pub struct Rendering {
    answered: oneshot::Receiver<Option<Done>>,
    /// In the queue, if it got one. What it is for may be made in another's.
    turn: Result<Started<()>, PoolError>,
    what: What,
    kept: Arc<AtomicBool>,
}

/// What is made, for metrics and operators.
struct What {
    edge: Arc<Edge>,
    route: Arc<Route>,
    recent: Arc<Recent>,
    source: Key,
    source_bytes: usize,
    plan: Plan,
    format: &'static str,
}

/// Why there is no rendition.
pub enum Unmade {
    /// As much waits as may wait.
    Full,
    /// Nobody waited for it when its turn came.
    Forsaken,
    /// It can't be made of this source.
    Failed,
}

impl Rendering {
    /// `awaited`: those it is for. If none is left when its turn comes, it isn't begun. `unknown`: a
    /// source whose digest is worked out then, once they are answered.
    pub async fn begin(
        edge: &Arc<Edge>,
        work: &Work,
        plan: &Plan,
        source: Bytes,
        awaited: Option<Arc<Filling<Response>>>,
        unknown: Option<Arc<Object>>,
    ) -> Rendering {
        let kept = Arc::new(AtomicBool::new(false));
        let is_kept = kept.clone();
        let is_wanted = move || {
            let is_awaited = awaited.as_ref().is_none_or(|filling| filling.is_awaited());
            is_awaited || is_kept.load(Ordering::Relaxed)
        };
        let images = work.images.clone();
        let (stub, answered) = images.together.join(&source, plan, Box::new(is_wanted));
        // Others that waited for the source have been woken with us: they come first, so that all
        // of them are made in one turn.
        yield_now().await;
        let decodes = edge.foundation.image_metrics.decodes.clone();
        let job = {
            let images = images.clone();
            move || {
                let (source, tickets) = stub.take();
                make(&images, &source, tickets, &decodes);
                if let Some(source) = unknown {
                    source.digest();
                }
            }
        };
        let what = What {
            edge: edge.clone(),
            route: work.source.route.clone(),
            recent: edge.runtime.load().recent.clone(),
            source: work.source.key.clone(),
            source_bytes: source.len(),
            plan: plan.clone(),
            format: plan.output().label(),
        };
        let turn = images.pool_for(plan).start_in(&work.source.route.name, job);
        Rendering {
            answered,
            turn,
            what,
            kept,
        }
    }

    /// It is to be made even if nobody waits for it any more.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Waits for what is done in its turn when it has been answered, with a rendition.
    pub async fn ended(&mut self) {
        if let Ok(turn) = &mut self.turn {
            // It was not for an answer of its own.
            let _ = turn.answer_mut().await;
        }
    }

    /// Waits for it. To be asked until it has answered once.
    pub async fn outcome(&mut self) -> Result<Rendition, Unmade> {
        let what = &self.what;
        let Ok(answer) = (&mut self.answered).await else {
            // Its ticket is gone: with its turn, or by the panic of whoever had taken it.
            let why = match &mut self.turn {
                Ok(turn) => turn.answer_mut().await.err(),
                Err(refused) => Some(*refused),
            };
            return Err(what.unmade(why.unwrap_or(PoolError::Panicked)));
        };
        let Some(done) = answer else {
            what.count("cancelled");
            return Err(Unmade::Forsaken);
        };
        what.done(done)
    }
}

impl What {
    fn count(&self, outcome: &'static str) {
        let metrics = &self.edge.foundation.image_metrics;
        metrics.count(self.format, outcome);
    }

    fn done(&self, done: Done) -> Result<Rendition, Unmade> {
        let metrics = &self.edge.foundation.image_metrics;
        metrics.wait.observe(done.waited.as_secs_f64());
        metrics.took(self.format, done.took.as_secs_f64());
        let outcome = match &done.made {
            Ok(_) => "transformed",
            Err(e) => e.cause(),
        };
        self.count(outcome);
        if done.made.is_err() || done.took >= SLOW_PICTURE {
            self.tell(outcome, done.waited, done.took);
        }
        let made = done.made.map_err(|_| Unmade::Failed)?;
        metrics.bytes(self.source_bytes, made.bytes.len());
        Ok(made)
    }

    fn unmade(&self, e: PoolError) -> Unmade {
        let (cause, unmade) = match e {
            PoolError::Full => ("queue_full", Unmade::Full),
            PoolError::Cancelled => ("cancelled", Unmade::Full),
            PoolError::Panicked => {
                self.edge.foundation.metrics.panics.inc();
                ("panicked", Unmade::Failed)
            }
        };
        self.count(cause);
        self.tell(cause, Duration::ZERO, Duration::ZERO);
        unmade
    }

    fn tell(&self, outcome: &str, waited: Duration, took: Duration) {
        let parts = self.source.parts();
        self.recent.tell_picture(&Picture {
            time: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            route: &self.route.name,
            path: parts.as_ref().map_or("", |parts| &parts.path),
            plan: &self.plan.key(),
            source_bytes: self.source_bytes,
            outcome,
            waited_ms: waited.as_millis() as u64,
            took_ms: took.as_millis() as u64,
        });
    }
}

/// All of one decoding, each answered as soon as it is made.
fn make(images: &Images, source: &Bytes, tickets: Vec<Ticket>, decodes: &IntCounter) {
    let (tickets, unwanted): (Vec<_>, Vec<_>) =
        tickets.into_iter().partition(|ticket| (ticket.is_wanted)());
    // An error, here and below, is a task that has gone.
    unwanted
        .into_iter()
        .for_each(|ticket| drop(ticket.answer.send(None)));
    if tickets.is_empty() {
        return;
    }
    let limits = Limits::from(&images.settings);
    let within = || Limits {
        deadline: Some(Instant::now() + images.settings.max_time),
        ..limits
    };
    let _room = images
        .memory
        .enter(lakh_image::memory(source, tickets.len(), &limits));
    let plans: Vec<Plan> = tickets.iter().map(|ticket| ticket.plan.clone()).collect();
    let mut started = Instant::now();
    decodes.inc();
    let decoded = Decoded::new(source, &plans, &within());
    let mut renditions = decoded.map(|decoded| decoded.renditions(&images.overlays, within));
    for ticket in tickets {
        let made = match &mut renditions {
            Ok(renditions) => renditions.next().expect("one for each plan"),
            Err(error) => Err(error.clone()),
        };
        let (waited, took) = (started - ticket.asked, started.elapsed());
        drop(ticket.answer.send(Some(Done { made, waited, took })));
        started = Instant::now();
    }
}
