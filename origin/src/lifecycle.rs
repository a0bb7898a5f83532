//! Stopping: no new connections, finish what is open, but not for ever.

use crate::observe::log;
use serde_json::json;
use std::{io, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::{select, time};

/// Shorter than the edge's own drain, so that the edge still hears the last answers.
const DRAIN: Duration = Duration::from_secs(25);

/// After that, for jobs, which have had all of it too: with it still shorter than the edge's.
const JOBS_DRAIN: Duration = Duration::from_secs(4);

pub struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// From here on the signals wait to be taken instead of ending the process at once.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    pub async fn asked(&mut self) {
        select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Tells `stopping` when it is time, so that whatever doesn't end by itself does.
pub async fn serve_until(
    serving: impl Future<Output = ()>,
    mut stop: Stop,
    stopping: &watch::Sender<bool>,
) {
    let deadline = async {
        stop.asked().await;
        stopping.send_replace(true);
        log::info("draining", json!({}));
        time::sleep(DRAIN).await;
    };
    select! {
        () = serving => {}
        () = deadline => log::error("drain_deadline", json!({ "seconds": DRAIN.as_secs() })),
    }
}

/// Jobs that have begun are finished, if they can be; another process takes over the rest.
pub async fn finish(jobs: impl Future<Output = ()>) {
    if time::timeout(JOBS_DRAIN, jobs).await.is_err() {
        log::error("jobs_deadline", json!({ "seconds": JOBS_DRAIN.as_secs() }));
    }
}
