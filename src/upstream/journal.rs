//! What became of a request's tries at servers: for the log's line, and for its trace.

use super::health::Outcome;
use super::server::Lease;
use crate::endpoint::Endpoint;
use crate::observe::SpanId;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Default)]
pub struct Journal {
    /// For a turn within the upstream's concurrency.
    pub waited: Option<Duration>,
    attempts: Vec<Attempt>,
}

/// One try at one server.
pub struct Attempt {
    pub upstream: Arc<str>,
    pub server: Endpoint,
    pub begun: Instant,
    /// Until there was a new connection.
    pub connect: Option<Duration>,
    /// Until the answer's head, or until it failed.
    pub took: Option<Duration>,
    pub outcome: Option<Outcome>,
    /// What the server is told as its parent.
    pub span: SpanId,
}

impl Journal {
    pub fn begin(&mut self, lease: &Lease) {
        let server = lease.server();
        self.attempts.push(Attempt {
            upstream: server.upstream().clone(),
            server: server.address.clone(),
            begun: Instant::now(),
            connect: None,
            took: None,
            outcome: None,
            span: SpanId::new(),
        });
    }

    /// There is a connection: a new one, or one that was kept.
    pub fn connected(&mut self, kept: bool) {
        if let Some(last) = self.attempts.last_mut() {
            last.connect = (!kept).then(|| last.begun.elapsed());
        }
    }

    /// The answer's head has come, or never will.
    pub fn ended(&mut self, outcome: Outcome) {
        if let Some(last) = self.attempts.last_mut() {
            last.took = Some(last.begun.elapsed());
            last.outcome = Some(outcome);
        }
    }

    /// A kept connection turned out to be closed: the same try begins anew.
    pub fn forgive(&mut self) {
        self.attempts.pop();
    }

    pub fn attempts(&self) -> &[Attempt] {
        &self.attempts
    }

    /// The one under way, or the last.
    pub fn last(&self) -> Option<&Attempt> {
        self.attempts.last()
    }
}

impl Attempt {
    /// Its answer's head came.
    pub fn answered(&self) -> Option<u16> {
        match self.outcome {
            Some(Outcome::Answered(status)) => Some(status),
            _ => None,
        }
    }
}
