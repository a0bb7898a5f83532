//! One transform, on the pool.

use super::super::Edge;
use super::Work;
use crate::cache::Filling;
use crate::pool::{PoolError, Started};
use crate::upstream::Response;
use bytes::Bytes;
use lakh_image::{Limits, Plan, Rendition, TransformError, transform};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// On the queue or a thread.
pub struct Rendering {
    edge: Arc<Edge>,
    started: Started<Option<Done>>,
    format: &'static str,
    source: usize,
    kept: Arc<AtomicBool>,
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

struct Done {
    made: Result<Rendition, TransformError>,
    waited: Duration,
    took: Duration,
}

impl Rendering {
    /// `awaited`: those it is for. If none is left when its turn comes, it isn't begun.
    pub fn begin(
        edge: &Arc<Edge>,
        work: &Work,
        plan: &Plan,
        source: Bytes,
        awaited: Option<Arc<Filling<Response>>>,
    ) -> Result<Rendering, Unmade> {
        let (plan, images) = (plan.clone(), work.images.clone());
        let kept = Arc::new(AtomicBool::new(false));
        let is_kept = kept.clone();
        let (mut limits, max_time) = (Limits::from(&images.settings), images.settings.max_time);
        let (asked, length) = (Instant::now(), source.len());
        let format = plan.output().label();
        let job = move || {
            let is_awaited = awaited.is_none_or(|filling| filling.is_awaited());
            if !(is_awaited || is_kept.load(Ordering::Relaxed)) {
                return None;
            }
            let _room = images.memory.enter(lakh_image::memory(&source, &limits));
            let (waited, started) = (asked.elapsed(), Instant::now());
            limits.deadline = Some(started + max_time);
            let made = transform(&source, &plan, &limits, &images.overlays);
            let took = started.elapsed();
            Some(Done { made, waited, took })
        };
        let lane = &work.source.route.name;
        let started = work.images.pool.start_in(lane, job);
        let started = started.map_err(|e| unmade(edge, format, e))?;
        Ok(Rendering {
            edge: edge.clone(),
            started,
            format,
            source: length,
            kept,
        })
    }

    /// It is to be made even if nobody waits for it any more.
    pub fn keep(&self) {
        self.kept.store(true, Ordering::Relaxed);
    }

    /// Waits for it. To be asked until it has answered once.
    pub async fn outcome(&mut self) -> Result<Rendition, Unmade> {
        let (edge, format) = (&self.edge, self.format);
        let done = self.started.answer_mut().await;
        let Some(done) = done.map_err(|e| unmade(edge, format, e))? else {
            edge.foundation.image_metrics.count(format, "cancelled");
            return Err(Unmade::Forsaken);
        };
        let metrics = &edge.foundation.image_metrics;
        metrics.wait.observe(done.waited.as_secs_f64());
        metrics.took(format, done.took.as_secs_f64());
        match done.made {
            Ok(made) => {
                metrics.count(format, "transformed");
                metrics.bytes(self.source, made.bytes.len());
                Ok(made)
            }
            Err(e) => {
                tracing::debug!(error = %e, "transform failed");
                metrics.count(format, e.cause());
                Err(Unmade::Failed)
            }
        }
    }
}

fn unmade(edge: &Edge, format: &'static str, e: PoolError) -> Unmade {
    let (cause, unmade) = match e {
        PoolError::Full => ("queue_full", Unmade::Full),
        PoolError::Cancelled => ("cancelled", Unmade::Full),
        PoolError::Panicked => {
            edge.foundation.metrics.panics.inc();
            ("panicked", Unmade::Failed)
        }
    };
    edge.foundation.image_metrics.count(format, cause);
    unmade
}
