//! A connection's life over HTTP/2: requests side by side, each handed to Pingora.

use super::answer::Problem;
use super::front::Front;
use super::within;
use crate::listen::Conn;
use crate::listen::http2::Connection;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a connection stays on which nothing is asked.
const IDLE: Duration = Duration::from_secs(60);

impl Front {
    /// Answers requests as they come, until the client leaves, or asks nothing for too long, or the edge
    /// drains. Those that have begun are finished.
    pub(super) async fn http2(&self, conn: Box<Conn>) {
        let (entry, peer) = (conn.entry().clone(), conn.peer());
        let Ok(mut connection) = Connection::begin(conn, &self.limits()).await else {
            return;
        };
        let mut requests = JoinSet::new();
        let (mut draining, mut shutdown) = (false, self.shutdown.clone());
        loop {
            tokio::select! {
                biased;
                _ = shutdown.wait_for(|draining| *draining), if !draining => {
                    draining = true;
                    connection.go_away();
                }
                Some(_) = requests.join_next() => {}
                request = connection.accept() => match request {
                    Some(Ok(request)) => {
                        let (proxy, shutdown) = (self.proxy.clone(), self.shutdown.clone());
                        let entry = entry.clone();
                        requests.spawn(async move {
                            within::answer(&proxy, entry, request, &shutdown).await;
                        });
                    }
                    Some(Err(what)) => self.note_refused(peer, &Problem::Malformed(what.0)),
                    None => break,
                },
                () = tokio::time::sleep(IDLE), if requests.is_empty() => break,
            }
        }
        // Each learns by its stream that nobody is left, and tells what became of it.
        requests.detach_all();
    }
}
