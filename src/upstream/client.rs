//! Lakh's own client: what the cache fills and the image transformer fetch with.
//!
//! A fetch is a plain async function, tied to no client's session. It picks a server, retries on
//! another where that is safe (a GET without a body always is, until its answer has begun), and
//! gives the answer's head; the body is read chunk by chunk. A body that ends before its framing
//! says so is an error, never a short whole.

use super::{Lease, Pool, ServerId, Tried};
use crate::error::{Error, Kind};
use bytes::Bytes;
use pingora::ErrorType;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[derive(Clone)]
pub struct Client {
    connector: Arc<Connector>,
}

/// An answer whose head has come.
pub struct Response {
    head: Box<ResponseHeader>,
    /// None once the body has been read to its end.
    session: Option<Box<HttpSession>>,
    connector: Arc<Connector>,
    peer: Box<HttpPeer>,
    lease: Lease,
}

/// How Pingora is to reach a server of the pool. `remaining` caps every wait: what is left of the
/// request's own time.
pub fn peer(pool: &Pool, lease: &Lease, remaining: Option<Duration>) -> HttpPeer {
    let mut peer = HttpPeer::new(lease.server().address, false, String::new());
    let cap = |wait: Duration| Some(remaining.map_or(wait, |left| wait.min(left)));
    let timeouts = &pool.timeouts;
    peer.options.connection_timeout = cap(timeouts.connect);
    peer.options.total_connection_timeout = cap(timeouts.connect);
    peer.options.read_timeout = cap(timeouts.read);
    peer.options.write_timeout = cap(timeouts.write);
    peer.options.idle_timeout = Some(timeouts.idle);
    peer
}

impl Client {
    /// `idle` connections to servers are kept at most.
    pub fn new(idle: usize) -> Client {
        let options = ConnectorOptions::new(idle);
        Client {
            connector: Arc::new(Connector::new(Some(options))),
        }
    }

    /// Sends a GET and reads the answer's head. `timeout` is for all tries together; `interim` is
    /// told of answers before the answer (RFC 9110 §15.2).
    pub async fn fetch(
        &self,
        pool: &Pool,
        request: &RequestHeader,
        preferred: Option<ServerId>,
        timeout: Option<Duration>,
        interim: &(dyn Fn(&ResponseHeader) + Sync),
    ) -> Result<Response, Error> {
        let started = Instant::now();
        let mut tried = Tried::default();
        let mut attempt = 1;
        let mut failure = None;
        loop {
            let remaining = timeout.map(|t| t.saturating_sub(started.elapsed()));
            if remaining.is_some_and(|r| r.is_zero()) {
                return Err(Error::new(Kind::Timeout, "the route's timeout has passed"));
            }
            let Some(lease) = pool.pick(&tried, preferred) else {
                let nothing = || Error::new(Kind::NoServer, format!("upstream {}", pool.name));
                return Err(failure.unwrap_or_else(nothing));
            };
            tried.add(&lease);
            match self.attempt(pool, lease, request, remaining, interim).await {
                Err(e) if e.retryable && attempt < pool.retry.attempts => {
                    tracing::debug!(upstream = %pool.name, error = %e, "retrying");
                    pool.metrics.retries.inc();
                    attempt += 1;
                    failure = Some(e);
                }
                outcome => return outcome,
            }
        }
    }

    async fn attempt(
        &self,
        pool: &Pool,
        lease: Lease,
        request: &RequestHeader,
        remaining: Option<Duration>,
        interim: &(dyn Fn(&ResponseHeader) + Sync),
    ) -> Result<Response, Error> {
        let peer = Box::new(peer(pool, &lease, remaining));
        loop {
            let (session, reused) = self.connector.get_http_session(&*peer).await.map_err(|e| {
                lease.failed();
                // Nobody listens there. Other errors may be ours: no port, no file, no time.
                if *e.etype() == ErrorType::ConnectRefused {
                    lease.server().connect_failed();
                }
                Error::new(Kind::Connect, e.to_string()).retryable()
            })?;
            match exchange(session, request, &peer, interim).await {
                Ok((head, session)) => {
                    let connector = self.connector.clone();
                    return Ok(Response {
                        head,
                        session: Some(Box::new(session)),
                        connector,
                        peer,
                        lease,
                    });
                }
                // A kept connection that the server had closed says nothing about the server.
                Err(e) if reused && !matches!(e.etype(), ErrorType::ReadTimedout) => continue,
                Err(e) => {
                    lease.failed();
                    return Err(Error::new(kind(&e), e.to_string()).retryable());
                }
            }
        }
    }
}

/// One request and the head of its final answer.
async fn exchange(
    mut session: HttpSession,
    request: &RequestHeader,
    peer: &HttpPeer,
    interim: &(dyn Fn(&ResponseHeader) + Sync),
) -> pingora::Result<(Box<ResponseHeader>, HttpSession)> {
    session.set_read_timeout(peer.options.read_timeout);
    session.set_write_timeout(peer.options.write_timeout);
    session
        .write_request_header(Box::new(request.clone()))
        .await?;
    session.finish_request_body().await?;
    loop {
        session.read_response_header().await?;
        let head = session.response_header().ok_or_else(|| {
            pingora::Error::explain(ErrorType::InvalidHTTPHeader, "no response header")
        })?;
        if head.status.as_u16() == 101 {
            return pingora::Error::e_explain(
                ErrorType::InvalidHTTPHeader,
                "101 without being asked to switch protocols",
            );
        }
        if head.status.is_informational() {
            // 100 answers a body that is to come, and a fetch has none.
            if head.status != http::StatusCode::CONTINUE {
                interim(head);
            }
            continue;
        }
        let head = Box::new(head.clone());
        if let HttpSession::H1(h1) = &mut session {
            h1.respect_keepalive();
        }
        return Ok((head, session));
    }
}

impl Response {
    pub fn head(&self) -> &ResponseHeader {
        &self.head
    }

    pub fn lease(&self) -> &Lease {
        &self.lease
    }

    /// The next part of the body; None at its end, after which the connection is free for others.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        let Some(session) = &mut self.session else {
            return Ok(None);
        };
        match session.read_response_body().await {
            Ok(Some(chunk)) => Ok(Some(chunk)),
            Ok(None) => {
                self.release().await;
                Ok(None)
            }
            Err(e) => {
                self.lease.failed();
                self.session = None;
                let kind = match kind(&e) {
                    Kind::Timeout => Kind::Timeout,
                    _ => Kind::Truncated,
                };
                Err(Error::new(kind, e.to_string()))
            }
        }
    }

    async fn release(&mut self) {
        if let Some(session) = self.session.take() {
            let idle = self.peer.options.idle_timeout;
            self.connector
                .release_http_session(*session, &*self.peer, idle)
                .await;
        }
    }
}

fn kind(e: &pingora::Error) -> Kind {
    match e.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::ConnectRefused
        | ErrorType::ConnectNoRoute
        | ErrorType::ConnectError
        | ErrorType::SocketError => Kind::Connect,
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Kind::Timeout,
        _ => Kind::BadAnswer,
    }
}
