//! A connection's life over QUIC: its handshake, and requests side by side, each handed to Pingora.

use super::answer::Problem;
use super::front::{Front, Open};
use super::within;
use crate::listen::quic::{
    self, Connection, Incoming, NoRequest, STREAMS, Socket, Stream, Unshaken,
};
use crate::listen::tls::{Listening, Secured};
use crate::listen::{Entry, Manner, Places};
use crate::observe::Handshake;
use http::Version;
use std::sync::Arc;
use tokio::task::JoinSet;
use tokio::time::timeout;

impl Front {
    /// Serves a connection to its end.
    pub async fn http3(
        self: Arc<Front>,
        incoming: Box<Incoming>,
        socket: Arc<Socket>,
        places: Places,
        listener: Arc<Listening>,
    ) {
        let _open = Open::count(&self.edge, places);
        let Some((connection, secured)) = self.shake(*incoming, &socket, &listener).await else {
            return;
        };
        let entry = Arc::new(Entry {
            listener: listener.entry.listener.clone(),
            manner: Manner::Secured(secured),
        });
        self.streams(connection, entry).await;
    }

    /// Shakes hands. None: there is nobody to serve.
    async fn shake(
        &self,
        incoming: Incoming,
        socket: &Arc<Socket>,
        listener: &Arc<Listening>,
    ) -> Option<(Connection, Secured)> {
        let tls = listener.tls.as_ref()?;
        let handshakes = &self.edge.foundation.handshakes;
        let (limits, peer) = (self.limits(), incoming.remote_address());
        let (most, own) = (limits.handshakes, limits.handshakes_per_address);
        // Anybody can write any address on a packet. Once it matters, it has to be proven.
        let many = handshakes.open() >= most / 2 || handshakes.open_of(peer.ip()) >= own / 2;
        if many && incoming.may_retry() {
            // It may, so there is nothing that could fail.
            let _ = incoming.retry();
            return None;
        }
        let Some(place) = handshakes.enter(peer.ip(), most, own) else {
            tls.metrics.shook(Handshake::Refused);
            incoming.refuse();
            return None;
        };
        match quic::shake(incoming, socket, tls, &limits).await {
            Ok((connection, secured, rest)) => {
                match rest {
                    None => tls.metrics.shook(Handshake::Quic),
                    Some(rest) => {
                        let (listener, limit) = (listener.clone(), limits.header_timeout);
                        tokio::spawn(async move {
                            let done = rest.done(limit).await;
                            drop(place);
                            if let Some(tls) = &listener.tls {
                                tls.metrics.shook(match done {
                                    true => Handshake::Quic,
                                    false => Handshake::Failed,
                                });
                            }
                        });
                    }
                }
                return Some((connection, secured));
            }
            Err(Unshaken::Failed(e)) => {
                tracing::debug!(%peer, error = %e, "no QUIC handshake");
                tls.metrics.shook(Handshake::Failed);
            }
            Err(Unshaken::TimedOut) => tls.metrics.shook(Handshake::TimedOut),
            Err(Unshaken::Refused) => tls.metrics.shook(Handshake::Refused),
        }
        None
    }

    /// Answers requests as they come, until the client leaves, or asks nothing for too long, or the edge
    /// drains. Those that have begun are finished.
    async fn streams(self: &Arc<Front>, mut connection: Connection, entry: Arc<Entry>) {
        let mut requests = JoinSet::new();
        let mut shutdown = self.shutdown.clone();
        let (mut draining, idle) = (*shutdown.borrow(), self.limits().idle_timeout);
        loop {
            if draining {
                connection.go_away().await;
                break;
            }
            let has_room = requests.len() < STREAMS as usize;
            tokio::select! {
                stream = connection.accept(), if has_room => match stream {
                    Some(stream) => {
                        requests.spawn(self.clone().stream(stream, entry.clone()));
                    }
                    None => break,
                },
                Some(_) = requests.join_next() => {}
                _ = shutdown.wait_for(|draining| *draining) => draining = true,
                () = tokio::time::sleep(idle), if requests.is_empty() => draining = true,
            }
        }
        finish(&mut connection, &mut requests).await;
        connection.end().await;
    }

    async fn stream(self: Arc<Front>, stream: Stream, entry: Arc<Entry>) {
        let (limits, peer) = (self.limits(), stream.peer());
        let refused = match timeout(limits.header_timeout, stream.read(&limits)).await {
            Ok(Ok(Some((session, cancelled)))) => {
                let waits = session.waits();
                let answer = within::answer(&self.proxy, entry, session, waits, &self.shutdown);
                match cancelled {
                    Some(cancelled) => within::until(cancelled, answer).await,
                    None => answer.await,
                }
                return;
            }
            Ok(Ok(None)) => return,
            Ok(Err(NoRequest::Malformed(what))) => Problem::Malformed(what.0),
            Ok(Err(NoRequest::TooLarge)) => Problem::HeadTooLarge,
            Err(_) => Problem::HeadTimeout,
        };
        // It was reset, or answered by `h3`.
        self.note_reset(&entry, peer, Version::HTTP_3, &refused);
    }
}

/// Until all that have begun are done; the connection has to be looked after meanwhile.
async fn finish(connection: &mut Connection, requests: &mut JoinSet<()>) {
    let mut lost = false;
    while !requests.is_empty() {
        tokio::select! {
            _ = requests.join_next() => {}
            // What comes now is refused by `h3`, as the client was told.
            stream = connection.accept(), if !lost => lost = stream.is_none(),
        }
    }
}
