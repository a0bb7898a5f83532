//! A connection's life over HTTP/2: requests side by side, each handed to Pingora.

use super::answer::Problem;
use super::front::Front;
use super::within;
use crate::listen::Conn;
use crate::listen::http2::Connection;
use http::Version;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, interval_at};

/// Requests of one connection that begin in a row, before others on its worker have their turn.
const IN_A_ROW: usize = 16;
/// A connection stays for as long at least when nothing is asked on it, and at most for twice that.
const IDLE: Duration = Duration::from_secs(60);

impl Front {
    /// Answers requests as they come, until the client leaves, or asks nothing for too long, or the edge
    /// drains. Those that have begun are finished.
    pub(super) async fn http2(&self, conn: Box<Conn>) {
        let (entry, peer) = (conn.entry().clone(), conn.peer());
        let Ok(mut connection) = Connection::begin(conn, &self.limits()).await else {
            return;
        };
        // One wait and one clock for the connection's life: each costs more than a look.
        let mut shutdown = self.shutdown.clone();
        let mut stopping = pin!(async move { drop(shutdown.wait_for(|draining| *draining).await) });
        let mut clock = interval_at(Instant::now() + IDLE, IDLE);
        // Each request has one more of it, for as long as it is answered.
        let open = Arc::new(());
        let (mut draining, mut was_asked, mut in_a_row) = (false, false, 0);
        loop {
            tokio::select! {
                biased;
                () = &mut stopping, if !draining => {
                    draining = true;
                    connection.go_away();
                }
                request = connection.accept() => match request {
                    Some(Ok(request)) => {
                        was_asked = true;
                        let (proxy, shutdown) = (self.proxy.clone(), self.shutdown.clone());
                        let (entry, open) = (entry.clone(), open.clone());
                        // When nobody is left it learns that by its stream, and tells what became of it.
                        tokio::spawn(async move {
                            within::answer(&proxy, entry, request, &shutdown).await;
                            drop(open);
                        });
                        in_a_row += 1;
                        if in_a_row == IN_A_ROW {
                            in_a_row = 0;
                            yield_now().await;
                        }
                    }
                    Some(Err(what)) => {
                        let problem = Problem::Malformed(what.0);
                        self.note_reset(&entry, peer, Version::HTTP_2, &problem);
                    },
                    None => break,
                },
                _ = clock.tick() => {
                    if !was_asked && Arc::strong_count(&open) == 1 {
                        break;
                    }
                    was_asked = false;
                }
            }
        }
    }
}
