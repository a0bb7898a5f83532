//! Stopping: no new connections, finish what is open, but not for ever.

use crate::log;
use axum::{Router, serve::Listener, serve::Serve};
use serde_json::json;
use std::{io, time::Duration};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::{select, sync::oneshot, time};

/// Shorter than the edge's own drain, so that the edge still hears the last answers.
const DRAIN: Duration = Duration::from_secs(25);

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

pub async fn serve_until<L>(service: Serve<L, Router, Router>, mut stop: Stop) -> io::Result<()>
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let (draining, started) = oneshot::channel();
    let served = service.with_graceful_shutdown(async move {
        stop.asked().await;
        log::info("draining", json!({}));
        // Nobody is listening when serving has already ended.
        let _ = draining.send(());
    });
    select! {
        result = served => result,
        () = deadline(started) => {
            log::error("drain_deadline", json!({ "seconds": DRAIN.as_secs() }));
            Ok(())
        }
    }
}

async fn deadline(started: oneshot::Receiver<()>) {
    let _ = started.await;
    time::sleep(DRAIN).await;
}
