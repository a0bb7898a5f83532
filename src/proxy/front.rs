//! A connection's life: one request after the other, each read head first and handed to Pingora.

use super::answer::Problem;
use super::context::RequestId;
use super::express::{self, Found, Left};
use super::finish::{self, NoRequest};
use super::within;
use super::{Edge, Service};
use crate::listen::http2;
use crate::listen::tls::{Listening, Secure, Turns};
use crate::listen::{Begun, Conn, ConnLimits, Entry, Limits, Malformed, Places, Socket, Unsecured};
use crate::observe::Handshake;
use http::header::DATE;
use http::{HeaderMap, Version};
use pingora::apps::{HttpServerApp, HttpServerOptions};
use pingora::protocols::http::ServerSession;
use pingora::proxy::{HttpProxy, Session};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use pingora::time::timeout;
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

/// Tries of one request in all, stale connections included; the pool's own bound is lower.
const MAX_TRIES: usize = 16;
/// A client that is about to ask again does not know yet that the edge drains: so long it may still ask,
/// and learns with the answer that the connection ends.
const LAST_CALL: Duration = Duration::from_millis(500);

/// What turns connections into requests. One for the process.
pub struct Front {
    pub(super) edge: Arc<Edge>,
    pub(super) proxy: Arc<HttpProxy<Service>>,
    pub(super) shutdown: ShutdownWatch,
    turns: Turns,
}

impl Front {
    /// `shutdown` turns true when the edge begins to drain.
    pub fn new(edge: Arc<Edge>, threads: usize, shutdown: ShutdownWatch) -> Front {
        let conf = ServerConf {
            threads,
            max_retries: MAX_TRIES,
            ..ServerConf::default()
        };
        let mut proxy = HttpProxy::new(Service(edge.clone()), Arc::new(conf));
        let mut options = HttpServerOptions::default();
        // It is refused by us, as all else is that is refused, and not by a page of Pingora's.
        options.allow_connect_method_proxying = true;
        proxy.server_options = Some(options);
        proxy.handle_init_modules();
        Front {
            edge,
            proxy: Arc::new(proxy),
            shutdown,
            turns: Turns::new(threads),
        }
    }

    /// Ends keep-alive connections that wait for a request.
    pub async fn close_idle(&self) {
        self.proxy.http_cleanup().await;
    }

    /// Serves a connection to its end.
    pub async fn serve(
        self: Arc<Front>,
        io: Socket,
        peer: SocketAddr,
        places: Places,
        listener: Arc<Listening>,
    ) {
        let mut open = Open::count(&self.edge, places);
        let settings = &listener.settings;
        let mut conn = Box::new(Conn::new(io, peer, listener.entry.clone()));
        if settings.proxy_protocol && !self.unwrap_proxied(&mut conn, &mut open.places).await {
            return;
        }
        if let Some(tls) = &listener.tls {
            // Aside: connections are no larger for what is over so soon.
            match Box::pin(self.secure(conn, tls)).await {
                Some(secured) => conn = secured,
                None => return,
            }
        }
        let mut shutdown = self.shutdown.clone();
        // One wait for the connection's life: registering it for each request takes a lock.
        let stopping = async move { drop(shutdown.wait_for(|draining| *draining).await) };
        let mut stopping = std::pin::pin!(stopping);
        loop {
            match self.begin(&mut conn, stopping.as_mut()).await {
                Begun::Request => match self.requests(conn).await {
                    Some(next) => conn = next,
                    None => return,
                },
                // Aside, as above.
                Begun::Http2 if settings.http2 => return Box::pin(self.http2(conn)).await,
                Begun::Closed => return conn.leave().await,
                Begun::Stranger => {
                    let problem = Problem::Malformed("it is not HTTP");
                    self.note_reset(conn.entry(), conn.peer(), Version::HTTP_11, &problem);
                    return conn.leave().await;
                }
                refused => return self.refuse(*conn, refused).await,
            }
        }
    }

    /// Learns who is behind the proxy. Whoever else connects is not believed: false.
    async fn unwrap_proxied(&self, conn: &mut Conn, places: &mut Places) -> bool {
        let (runtime, metrics) = (self.edge.runtime.load_full(), &self.edge.foundation.metrics);
        let proxy = conn.peer();
        let limits = &runtime.limits;
        let unwrapped = match runtime.trusted.contains(proxy.ip()) {
            true => conn.unwrap_proxied(limits.header_timeout).await,
            false => Err(ErrorKind::PermissionDenied.into()),
        };
        if let Err(e) = unwrapped {
            let problem = match e.kind() {
                // Many proxies look so whether somebody is here.
                ErrorKind::UnexpectedEof => return false,
                ErrorKind::TimedOut => Problem::HeadTimeout,
                ErrorKind::PermissionDenied => Problem::Malformed(
                    "its listener has proxy_protocol, and it comes from none of trusted_proxies",
                ),
                _ => Problem::Malformed("its connection has no header of the PROXY protocol"),
            };
            self.note_reset(conn.entry(), proxy, Version::HTTP_11, &problem);
            return false;
        }
        let client = conn.peer().ip();
        let has_place =
            client == proxy.ip() || places.all.give_to(client, limits.connections_per_address);
        if !has_place {
            metrics.connections_refused.inc();
        }
        has_place
    }

    /// Shakes hands. None: there is nobody to serve, and the connection is closed.
    async fn secure(&self, mut conn: Box<Conn>, tls: &Secure) -> Option<Box<Conn>> {
        let foundation = &self.edge.foundation;
        let limits = self.edge.runtime.load().limits.clone();
        let (most, own) = (limits.handshakes, limits.handshakes_per_address);
        let Some(place) = foundation.handshakes.enter(conn.peer().ip(), most, own) else {
            tls.metrics.shook(Handshake::Refused);
            return None;
        };
        let shaking = conn.secure(tls, &self.turns);
        let shaken = timeout(limits.header_timeout, shaking).await;
        drop(place);
        let how = match shaken {
            Ok(Ok(how)) => {
                tls.metrics.shook(how);
                return Some(conn);
            }
            Ok(Err(Unsecured::Plain)) => {
                tls.metrics.shook(Handshake::Plain);
                let what = "it came without TLS to a port of HTTPS; the URL begins with https://";
                self.refuse(*conn, Begun::Malformed(Malformed(what))).await;
                return None;
            }
            Ok(Err(Unsecured::Challenge)) => {
                conn.leave().await;
                Handshake::Challenge
            }
            Ok(Err(Unsecured::Failed(e))) => {
                tracing::debug!(peer = %conn.peer(), error = %e, "no TLS handshake");
                Handshake::Failed
            }
            Err(_) => Handshake::TimedOut,
        };
        tls.metrics.shook(how);
        None
    }

    /// Waits for a request; once the edge drains, not for long.
    async fn begin(&self, conn: &mut Conn, stopping: Pin<&mut impl Future<Output = ()>>) -> Begun {
        let limits = {
            let runtime = self.edge.runtime.load();
            ConnLimits {
                idle: runtime.limits.idle_timeout,
                header: runtime.limits.header_timeout,
                header_size: runtime.limits.header_size,
                send: runtime.limits.send_timeout,
                min_body_rate: runtime.limits.min_body_rate,
            }
        };
        // Once it has come true, `stopping` must not be asked again.
        if !*self.shutdown.borrow() {
            tokio::select! {
                biased;
                begun = conn.begin(&limits) => return begun,
                () = stopping => {}
            }
        }
        match timeout(LAST_CALL, conn.begin(&limits)).await {
            Ok(begun) => begun,
            Err(_) if conn.has_input() => conn.begin(&limits).await,
            Err(_) => Begun::Closed,
        }
    }

    /// One request or more; gives the connection back when it can take another.
    async fn requests(&self, mut conn: Box<Conn>) -> Option<Box<Conn>> {
        // While the edge drains, answers say that the connection ends: Pingora's do.
        while conn.plain().is_some() && !*self.shutdown.borrow() {
            let mut left = express::serve(&self.edge, &mut conn);
            if conn.sent().await.is_err() {
                return None;
            }
            if let Left::Waits(waits) = left {
                // Aside, so that connections that don't wait are no larger for it.
                left = Box::pin(express::wait(&self.edge, &mut conn, *waits)).await;
            }
            if let Left::Switches(waits) = left {
                // Not within the wait before: mostly silent for hours, it is to hold little.
                left = Box::pin(express::switch(&self.edge, &mut conn, *waits)).await;
            }
            match left {
                Left::Pingora => break,
                Left::Empty => return Some(conn),
                Left::Broken => return None,
                Left::Closes => {
                    // It was read: what is left unread would be waited for.
                    conn.end_plain();
                    conn.close().await;
                    return None;
                }
                Left::More | Left::Waits(_) | Left::Switches(_) => conn.give_turn().await,
            }
        }
        self.request(conn).await
    }

    /// One request, by Pingora.
    async fn request(&self, conn: Box<Conn>) -> Option<Box<Conn>> {
        let body_timeout = self.edge.runtime.load().limits.body_timeout;
        let mut session = ServerSession::new_http1(conn);
        // How long it is kept is `begin`'s affair; here it only says that it may be.
        session.set_keepalive(Some(60));
        session.set_read_timeout(Some(body_timeout));
        // Of the writes the connection itself looks after: Pingora's timeout would be for all of a body.
        session.set_write_timeout(None);
        let reused = self.proxy.process_new_http(session, &self.shutdown).await?;
        let (stream, _) = reused.consume();
        Some(
            stream
                .into_any()
                .downcast()
                .expect("Pingora gives back the stream that it was given"),
        )
    }

    async fn refuse(&self, mut conn: Conn, begun: Begun) {
        let problem = match begun {
            Begun::TooLarge => Problem::HeadTooLarge,
            Begun::TimedOut => Problem::HeadTimeout,
            Begun::Malformed(what) => Problem::Malformed(what.0),
            _ => Problem::Malformed("HTTP/2 is not spoken here"),
        };
        let id = RequestId::new();
        let is_http2 = conn.agreed_on_http2();
        let (told, bytes) = match is_http2 {
            true => (http2::REFUSAL.to_vec(), 0),
            false => problem.to_http1(&id),
        };
        let limits = self.limits();
        self.note_refused(&NoRequest {
            entry: conn.entry(),
            peer: conn.peer(),
            version: if is_http2 {
                Version::HTTP_2
            } else {
                Version::HTTP_11
            },
            id: &id,
            problem: &problem,
            bytes,
            took: waited(&problem, &limits),
        });
        conn.refuse(&told, limits.send_timeout).await;
    }

    pub(super) fn limits(&self) -> Limits {
        self.edge.runtime.load().limits.clone()
    }

    /// It is told no more than that its stream, or its connection, ends.
    pub(super) fn note_reset(
        &self,
        entry: &Entry,
        peer: SocketAddr,
        version: Version,
        problem: &Problem,
    ) {
        self.note_refused(&NoRequest {
            entry,
            peer,
            version,
            id: &RequestId::new(),
            problem,
            bytes: 0,
            took: waited(problem, &self.limits()),
        });
    }

    /// Counts a head that was no request, and tells of it.
    fn note_refused(&self, head: &NoRequest<'_>) {
        let (runtime, metrics) = (self.edge.runtime.load(), &self.edge.foundation.metrics);
        metrics.bad_requests.inc();
        if let Some(offence) = head.problem.offence() {
            runtime.note_offence(offence, head.peer.ip(), metrics);
        }
        finish::refused(head, &runtime);
    }
}

fn waited(problem: &Problem, limits: &Limits) -> Duration {
    match problem {
        Problem::HeadTimeout => limits.header_timeout,
        _ => Duration::ZERO,
    }
}

/// How the connection of a request came in.
pub fn entry(session: &Session) -> Option<Arc<Entry>> {
    match conn(session) {
        Some(conn) => Some(conn.entry().clone()),
        None => within::entry(),
    }
}

/// Whether nothing goes on because a part of the request's body is waited for.
pub fn waits_for_client(session: &Session) -> bool {
    match conn(session) {
        Some(conn) => conn.waits_for_body(),
        None => within::waits(),
    }
}

/// Lets the answer keep its origin's Date: Pingora gives it the present time over HTTP/1.1.
pub fn keep_date(session: &Session, fields: &HeaderMap) {
    if let (Some(conn), Some(date)) = (conn(session), fields.get(DATE)) {
        conn.keep_date(date.as_bytes());
    }
}

/// What is known of the request already.
pub fn luggage(session: &Session) -> Option<Box<Found>> {
    conn(session)?.unpack()?.downcast().ok()
}

fn conn(session: &Session) -> Option<&Conn> {
    let stream = session.as_http1()?.stream();
    (**stream).as_any().downcast_ref()
}

/// Counts an open connection, however it ends.
pub(super) struct Open {
    connections: prometheus::IntGauge,
    places: Places,
}

impl Open {
    pub fn count(edge: &Edge, places: Places) -> Open {
        let connections = edge.foundation.metrics.connections.clone();
        connections.inc();
        Open {
            connections,
            places,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.connections.dec();
    }
}
