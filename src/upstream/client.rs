//! Lakh's own client: what the cache fills and the image transformer fetch with.
//!
//! A fetch is a plain async function, tied to no client's session. It picks a server, retries on
//! another where that is safe (a GET without a body always is, until its answer has begun), and
//! gives the answer's head; the body is read chunk by chunk. A body that ends before its framing
//! says so is an error, never a short whole.

use super::announce::Ends;
use super::transport::speak_http1;
use super::{Asked, Busy, Journal, Lease, Outcome, Pool, Priority, ServerId, Time, Tries, Turn};
use crate::error::{Error, Kind};
use crate::observe::{TRACEPARENT, TraceId, Traceparent};
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, SET_COOKIE, TRANSFER_ENCODING};
use http::{HeaderValue, StatusCode};
use pingora::ErrorType;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::protocols::Stream;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use std::future::{Future, poll_fn};
use std::io::{self, ErrorKind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

#[derive(Clone)]
pub struct Client {
    connector: Arc<Connector>,
}

/// What is to be fetched.
pub struct Fetch<'a> {
    /// A GET or HEAD without a body.
    pub request: &'a RequestHeader,
    /// What a pool that balances by hash goes by.
    pub key: Option<u64>,
    /// The server that the client is to stay with.
    pub preferred: Option<ServerId>,
    /// Asks to switch protocols, so that the answer may be a 101.
    pub upgrade: bool,
    pub priority: Priority,
    /// For all tries together.
    pub deadline: Option<Instant>,
    /// Whose it is, for servers that are told.
    pub ends: Option<Ends>,
    /// Servers are told that they are part of it.
    pub trace: Option<TraceId>,
}

/// An answer whose head has come.
pub struct Response {
    head: Box<ResponseHeader>,
    body: Body,
}

/// An answer's body, yet to be read.
pub struct Body {
    /// Read already, only to be looked at: it comes first.
    ahead: Bytes,
    /// None once it has been read to its end.
    session: Option<Box<HttpSession>>,
    connector: Arc<Connector>,
    peer: Box<HttpPeer>,
    lease: Lease,
    _turn: Option<Turn>,
}

/// How Pingora is to reach a server of the pool. `remaining` caps every wait: what is left of the
/// request's own time; `ends` says whose it is.
pub fn peer(
    pool: &Pool,
    lease: &Lease,
    remaining: Option<Duration>,
    ends: Option<&Ends>,
) -> HttpPeer {
    let mut peer = pool.transport.peer(&lease.server().address, ends);
    let timeouts = &pool.timeouts;
    let left = [remaining, pool.retry.per_try].into_iter().flatten().min();
    let cap = |wait: Duration| Some(left.map_or(wait, |left| wait.min(left)));
    peer.options.connection_timeout = cap(timeouts.connect);
    peer.options.total_connection_timeout = cap(timeouts.connect);
    peer.options.read_timeout = cap(timeouts.read);
    peer.options.write_timeout = cap(timeouts.write);
    peer.options.idle_timeout.get_or_insert(timeouts.idle);
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

    pub(super) fn connector(&self) -> &Connector {
        &self.connector
    }

    /// Sends the request and reads the answer's head. `interim` is told of answers before the answer
    /// (RFC 9110 §15.2). What became of each try is in `journal`, whenever one stops waiting.
    pub async fn fetch(
        &self,
        pool: &Pool,
        fetch: &Fetch<'_>,
        journal: &mut Journal,
        interim: &(dyn Fn(&ResponseHeader) + Sync),
    ) -> Result<Response, Error> {
        let begun = Instant::now();
        let turn = enter(pool, fetch).await?;
        journal.waited = turn.is_some().then(|| begun.elapsed());
        let mut tries = Tries::default();
        let nothing = Error::new(Kind::NoServer, format!("upstream {}", pool.name));
        let mut last = Err((Outcome::NoConnection, nothing));
        loop {
            if !tries.ready(pool).await {
                return last_of(last, turn);
            }
            let remaining = fetch.remaining();
            if remaining.is_some_and(|r| r.is_zero()) {
                return Err(Error::new(Kind::Timeout, "the route's timeout has passed"));
            }
            let asked = Asked {
                tried: &tries.tried,
                preferred: fetch.preferred,
                key: fetch.key,
                now: Time::now(),
            };
            let Some(mut lease) = pool.pick(&asked) else {
                return last_of(last, turn);
            };
            tries.add(&lease);
            journal.begin(&lease);
            let answer = self
                .attempt(pool, &lease, fetch, remaining, journal, interim)
                .await;
            let outcome = outcome(&answer);
            journal.ended(outcome);
            lease.tell(outcome, Time::now());
            if let Some(turn) = turn.as_ref().filter(|_| outcome.took_its_time()) {
                turn.answered();
            }
            let response = answer.map(|answer| (answer, lease));
            let repeatable = fetch.request.method.is_idempotent();
            if !outcome.is_failure() || !tries.again(pool, outcome, repeatable, Time::now()) {
                return last_of(response, turn);
            }
            tracing::debug!(upstream = %pool.name, ?outcome, "trying again");
            last = response;
        }
    }

    async fn attempt(
        &self,
        pool: &Pool,
        lease: &Lease,
        fetch: &Fetch<'_>,
        remaining: Option<Duration>,
        journal: &mut Journal,
        interim: &(dyn Fn(&ResponseHeader) + Sync),
    ) -> Result<Answer, (Outcome, Error)> {
        let mut peer = Box::new(peer(pool, lease, remaining, fetch.ends.as_ref()));
        if fetch.upgrade {
            speak_http1(&mut peer);
        }
        loop {
            // Aside: whoever waits for the answer, or takes it for hours, is no larger for this.
            let connected = Box::pin(self.connector.get_http_session(&*peer)).await;
            let (session, reused) = connected.map_err(|e| {
                let outcome = no_connection(&e);
                (outcome, Error::new(Kind::Connect, e.to_string()))
            })?;
            journal.connected(reused);
            let request = fetch.to_send(journal);
            match exchange(session, fetch, request, &peer, interim).await {
                Ok((head, mut session)) => {
                    // What was waited for is there; from here on it is the body.
                    session.set_read_timeout(Some(pool.timeouts.read));
                    return Ok(Answer {
                        head,
                        session: Box::new(session),
                        connector: self.connector.clone(),
                        peer,
                    });
                }
                // A kept connection that the server had closed says nothing about the server.
                Err(e) if reused && !matches!(e.etype(), ErrorType::ReadTimedout) => continue,
                Err(e) => return Err((broken(&e), Error::new(kind(&e), e.to_string()))),
            }
        }
    }
}

impl Fetch<'_> {
    /// The request, as part of the try that is under way.
    fn to_send(&self, journal: &Journal) -> Box<RequestHeader> {
        let mut request = Box::new(self.request.clone());
        if let (Some(trace), Some(attempt)) = (self.trace, journal.last()) {
            let span = attempt.span;
            let parent = Traceparent {
                trace,
                span,
                sampled: true,
            };
            // Its value is one, whatever the ids.
            let _ = request.insert_header(TRACEPARENT, parent.to_value());
        }
        request
    }

    fn remaining(&self) -> Option<Duration> {
        let now = Instant::now();
        self.deadline
            .map(|deadline| deadline.saturating_duration_since(now))
    }
}

/// An answer whose head has come, not yet told to its server.
struct Answer {
    head: Box<ResponseHeader>,
    session: Box<HttpSession>,
    connector: Arc<Connector>,
    peer: Box<HttpPeer>,
}

/// Waits for a turn where the upstream's concurrency is limited.
async fn enter(pool: &Pool, fetch: &Fetch<'_>) -> Result<Option<Turn>, Error> {
    let entered = pool.group.gate.enter(fetch.priority);
    let entered = match fetch.remaining() {
        None => entered.await,
        Some(limit) => tokio::time::timeout(limit, entered)
            .await
            .unwrap_or(Err(Busy::WaitedTooLong)),
    };
    entered.map_err(|why| {
        pool.group.metrics.busy.inc();
        Error::new(Kind::Busy, format!("upstream {}: {why:?}", pool.name))
    })
}

/// What the last try has come to.
fn last_of(
    last: Result<(Answer, Lease), (Outcome, Error)>,
    turn: Option<Turn>,
) -> Result<Response, Error> {
    let (answer, lease) = last.map_err(|(_, e)| e)?;
    Ok(Response {
        head: answer.head,
        body: Body {
            ahead: Bytes::new(),
            session: Some(answer.session),
            connector: answer.connector,
            peer: answer.peer,
            lease,
            _turn: turn,
        },
    })
}

fn outcome(answer: &Result<Answer, (Outcome, Error)>) -> Outcome {
    match answer {
        Ok(answer) => Outcome::Answered(answer.head.status.as_u16()),
        Err((outcome, _)) => *outcome,
    }
}

/// What a connection that could not be made says of the server. Other errors than a refusal may be
/// ours: no port, no file, no time. A Unix socket that isn't there refuses too.
pub fn no_connection(e: &pingora::Error) -> Outcome {
    let cause = e.root_cause().downcast_ref::<io::Error>();
    match e.etype() {
        ErrorType::ConnectRefused => Outcome::Refused,
        _ if cause.is_some_and(|e| e.kind() == ErrorKind::NotFound) => Outcome::Refused,
        _ => Outcome::NoConnection,
    }
}

/// What a connection that broke says of the server.
pub fn broken(e: &pingora::Error) -> Outcome {
    match e.etype() {
        ErrorType::ReadTimedout | ErrorType::WriteTimedout => Outcome::TimedOut,
        _ => Outcome::Broken,
    }
}

/// A request that ends with its head. Over HTTP/2 the head says so: an end that comes after it reads
/// as an empty body, which a proxy behind may pass on as one.
pub async fn send_without_body(
    session: &mut HttpSession,
    request: Box<RequestHeader>,
) -> pingora::Result<()> {
    if let HttpSession::H2(stream) = session {
        return stream.write_request_header(request, true);
    }
    session.write_request_header(request).await?;
    session.finish_request_body().await
}

/// One request and the head of its final answer.
async fn exchange(
    mut session: HttpSession,
    fetch: &Fetch<'_>,
    request: Box<RequestHeader>,
    peer: &HttpPeer,
    interim: &(dyn Fn(&ResponseHeader) + Sync),
) -> pingora::Result<(Box<ResponseHeader>, HttpSession)> {
    session.set_read_timeout(peer.options.read_timeout);
    session.set_write_timeout(peer.options.write_timeout);
    send_without_body(&mut session, request).await?;
    loop {
        session.read_response_header().await?;
        let head = session.response_header().ok_or_else(|| {
            pingora::Error::explain(ErrorType::InvalidHTTPHeader, "no response header")
        })?;
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        if switches && !fetch.upgrade {
            return pingora::Error::e_explain(
                ErrorType::InvalidHTTPHeader,
                "101 without being asked to switch protocols",
            );
        }
        if head.status.is_informational() && !switches {
            // 100 answers a body that is to come, and a fetch has none.
            if head.status != StatusCode::CONTINUE {
                let mut head = head.clone();
                frame_once(&mut head);
                interim(&head);
            }
            continue;
        }
        let mut head = Box::new(head.clone());
        frame_once(&mut head);
        if let HttpSession::H1(h1) = &mut session {
            h1.respect_keepalive();
        }
        return Ok((head, session));
    }
}

/// An answer's head as all may read it: one Content-Length where there are equal ones (RFC 9112 §6.3), and
/// no framing where there is no body (RFC 9110 §8.6, RFC 9112 §6.1). It was read by what it said before.
pub fn frame_once(head: &mut ResponseHeader) {
    if head.status.is_informational() || head.status == StatusCode::NO_CONTENT {
        head.remove_header(&CONTENT_LENGTH);
        head.remove_header(&TRANSFER_ENCODING);
        return;
    }
    let mut lines = head.headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = lines.next() else { return };
    let mut members = first.as_bytes().split(|b| *b == b',');
    let length = members.next().unwrap_or_default().trim_ascii();
    if lines.next().is_some() || members.next().is_some() {
        // Those that differ are refused where the answer is read.
        let length = HeaderValue::from_bytes(length);
        if let Ok(length) = length {
            head.remove_header(&CONTENT_LENGTH);
            let _ = head.insert_header(CONTENT_LENGTH, length);
        }
    }
}

impl Response {
    pub fn head(&self) -> &ResponseHeader {
        &self.head
    }

    pub fn lease(&self) -> &Lease {
        &self.body.lease
    }

    /// Has the client told beside what the server says.
    pub fn set_cookie(&mut self, cookie: HeaderValue) -> pingora::Result<()> {
        self.head.append_header(SET_COOKIE, cookie).map(drop)
    }

    pub fn into_parts(self) -> (Box<ResponseHeader>, Body) {
        (self.head, self.body)
    }

    /// The next part of the body: see `Body`.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        self.body.chunk().await
    }

    /// What was read so far, to be read once more.
    pub fn unread(&mut self, read: Bytes) {
        self.body.ahead = read;
    }
}

impl Body {
    /// The next part of the body; None at its end, after which the connection is free for others.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        if !self.ahead.is_empty() {
            return Ok(Some(std::mem::take(&mut self.ahead)));
        }
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
                self.lease.tell(broken(&e), Time::now());
                self.session = None;
                let kind = match kind(&e) {
                    Kind::Timeout => Kind::Timeout,
                    _ => Kind::Truncated,
                };
                Err(Error::new(kind, e.to_string()))
            }
        }
    }

    /// After a 101: the connection itself, and what has come on it already.
    pub async fn take_stream(&mut self) -> Option<(Stream, Bytes)> {
        let HttpSession::H1(mut session) = *self.session.take()? else {
            return None;
        };
        let early = {
            let mut read = pin!(session.read_body_bytes());
            // Asked once: what has not come yet is for whoever has the stream.
            poll_fn(|cx| Poll::Ready(read.as_mut().poll(cx))).await
        };
        let early = match early {
            Poll::Ready(Ok(Some(early))) => early,
            Poll::Ready(Ok(None) | Err(_)) => return None,
            Poll::Pending => Bytes::new(),
        };
        Some((session.into_inner(), early))
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
