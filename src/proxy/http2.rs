//! A connection's life over HTTP/2: requests side by side, each handed to Pingora.

use super::answer::Problem;
use super::front::Front;
use super::{extended, within};
use crate::listen::http2::{Asked, Connection};
use crate::listen::{Conn, Entry};
use http::Version;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// Requests of one connection that begin in a row, before others on its worker have their turn.
const IN_A_ROW: usize = 16;
/// How long a client that was told to go, having asked nothing for too long, may take to.
const LAST_CALL: Duration = Duration::from_secs(5);

impl Front {
    /// Answers requests as they come, until the client leaves, or asks nothing for too long, or the edge
    /// drains. Those that have begun are finished.
    pub(super) async fn http2(&self, conn: Box<Conn>) {
        let (entry, peer) = (conn.entry().clone(), conn.peer());
        let Ok(mut connection) = Connection::begin(conn, &self.limits()).await else {
            return;
        };
        // One wait and one timer for the connection's life: each costs more than a look.
        let mut shutdown = self.shutdown.clone();
        let mut stopping = pin!(async move { drop(shutdown.wait_for(|draining| *draining).await) });
        let idle = self.limits().idle_timeout;
        let mut nap = pin!(sleep(idle));
        let mut until = Instant::now() + idle;
        // Each request has one more of it, for as long as it is answered.
        let open = Arc::new(());
        let (mut draining, mut told, mut in_a_row) = (false, false, 0);
        loop {
            tokio::select! {
                biased;
                () = &mut stopping, if !draining => {
                    draining = true;
                    connection.go_away();
                }
                request = connection.accept() => match request {
                    Some(Ok(request)) => {
                        until = Instant::now() + idle;
                        self.begin_answer(request, entry.clone(), open.clone());
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
                () = &mut nap => {
                    // Set for an earlier request, or something is still being answered.
                    let now = Instant::now();
                    if Arc::strong_count(&open) > 1 {
                        until = now + idle;
                    } else if now >= until {
                        if told {
                            break;
                        }
                        told = true;
                        connection.go_away();
                        until = now + idle.min(LAST_CALL);
                    }
                    nap.as_mut().reset(until);
                }
            }
        }
    }

    /// On a task of its own. When nobody is left it learns that by its stream, and tells what became of it.
    /// `open` lasts as long as that.
    fn begin_answer(&self, asked: Asked, entry: Arc<Entry>, open: Arc<()>) {
        match asked {
            Asked::Answer(request, cancelled) => {
                let (proxy, shutdown) = (self.proxy.clone(), self.shutdown.clone());
                tokio::spawn(async move {
                    let waits = request.waits();
                    let answer = within::answer(&proxy, entry, request, waits, &shutdown);
                    match cancelled {
                        Some(mut cancelled) => within::until(cancelled.wait(), answer).await,
                        None => answer.await,
                    }
                    drop(open);
                });
            }
            Asked::WebSocket(request) => {
                let edge = self.edge.clone();
                tokio::spawn(async move {
                    extended::answer(edge, entry, request).await;
                    drop(open);
                });
            }
        }
    }
}
