//! The operators' listener: health, readiness, metrics, servers, purges, what is in the caches.
//! Loopback by default; a token elsewhere.

mod answers;
mod bans;
mod caches;
mod certificates;
mod dashboard;
mod lately;
mod orders;
mod pages;
mod purge;
mod settings;
mod status;
mod top;
mod upstreams;
mod visitor;

pub use bans::{BanOrder, LiftOrder};
pub use orders::{Deed, Deeds};
pub use purge::Order as PurgeOrder;
pub use settings::AdminSettings;
pub use upstreams::{ServerName, SplitName, WeightOrder};

use crate::listen::{Begun, Conn, ConnLimits, Entry, Place, Socket};
use crate::runtime::{Foundation, Runtime};
use answers::{
    Answer, answer, failed, json, not_so, page, problem, refused, text, to_http1, unauthorized,
};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, StatusCode, Version};
use pingora::apps::HttpServerApp;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// For the whole of an admin connection's waits; scrapers come every few seconds.
const LIMITS: ConnLimits = ConnLimits {
    idle: Duration::from_secs(60),
    header: Duration::from_secs(10),
    header_size: 16 << 10,
    send: Duration::from_secs(10),
    min_body_rate: 240,
};

pub struct Admin {
    app: Arc<HttpServer<Pages>>,
    entry: Arc<Entry>,
    shutdown: ShutdownWatch,
}

struct Pages {
    current: Arc<ArcSwap<Runtime>>,
    foundation: Arc<Foundation>,
    deeds: Deeds,
}

impl Admin {
    pub fn new(
        current: Arc<ArcSwap<Runtime>>,
        foundation: Arc<Foundation>,
        deeds: Deeds,
        shutdown: ShutdownWatch,
    ) -> Admin {
        let app = HttpServer::new_app(Pages {
            current,
            foundation,
            deeds,
        });
        Admin {
            app: Arc::new(app),
            entry: Entry::plain("admin"),
            shutdown,
        }
    }

    /// Serves a connection to its end.
    pub async fn serve(self: Arc<Admin>, io: Socket, peer: SocketAddr, _place: Place) {
        let mut conn = Box::new(Conn::new(io, peer, self.entry.clone()));
        loop {
            let refused = match conn.begin(&LIMITS).await {
                Begun::Request => None,
                Begun::Closed | Begun::Stranger => return,
                Begun::TimedOut => Some((StatusCode::REQUEST_TIMEOUT, "It took too long.")),
                Begun::TooLarge => {
                    let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                    Some((status, "Its head is too large."))
                }
                Begun::Malformed(what) => Some((StatusCode::BAD_REQUEST, what.0)),
                Begun::Http2 => Some((StatusCode::BAD_REQUEST, "HTTP/2 is not spoken here.")),
            };
            if let Some((status, why)) = refused {
                let answer = to_http1(&problem(status, "no-request", why));
                return conn.refuse(&answer, LIMITS.send).await;
            }
            let mut session = ServerSession::new_http1(conn);
            session.set_keepalive(Some(60));
            let reused = self.app.process_new_http(session, &self.shutdown).await;
            let Some((stream, _)) = reused.map(|r| r.consume()) else {
                return;
            };
            conn = stream
                .into_any()
                .downcast()
                .expect("Pingora gives back the stream it was given");
        }
    }
}

#[async_trait]
impl ServeHttp for Pages {
    async fn response(&self, session: &mut ServerSession) -> Answer {
        if session.req_header().version == Version::HTTP_10 {
            // It has not asked for more, and may read to the connection's end.
            session.set_keepalive(None);
        }
        let request = session.req_header();
        let path = request.uri.path();
        let is_order = request.method == Method::POST;
        if !is_order && !matches!(request.method, Method::GET | Method::HEAD) {
            return not_so(path);
        }
        // Whether it lives is no secret, and container platforms send no tokens.
        match path {
            _ if is_order => {}
            "/healthz" => return text(StatusCode::OK, "ok\n"),
            "/readyz" => return self.ready(),
            "/" => return dashboard::page(),
            _ => {}
        }
        if let Some(refusal) = self.refusal(&request.headers) {
            return refusal;
        }
        if is_order {
            return self.order(session).await;
        }
        self.show(path, request.uri.query().unwrap_or_default())
            .await
    }
}

impl Pages {
    async fn show(&self, path: &str, query: &str) -> Answer {
        let runtime = self.current.load_full();
        match path {
            "/metrics" => self.metrics().await,
            "/api/v1" => text(StatusCode::OK, &pages::index()),
            "/api/v1/openapi.json" => page(&pages::openapi()),
            "/api/v1/status" => page(&status::show(&runtime, &self.foundation)),
            "/api/v1/config" => page(&runtime.written.shown()),
            "/api/v1/upstreams" => page(&upstreams::show(&runtime)),
            "/api/v1/limits" => page(&lately::limits(&runtime)),
            "/api/v1/bans" => page(&bans::show(&runtime)),
            "/api/v1/cache" => page(&caches::show(&runtime)),
            "/api/v1/cache/top" => look(top::Question::parse(query), runtime).await,
            "/api/v1/cache/lookup" => look(top::Question::lookup(query), runtime).await,
            "/api/v1/certificates" => page(&certificates::show(&runtime)),
            "/api/v1/images" => lately::images(&runtime),
            "/api/v1/errors" => lately::errors(&runtime),
            "/api/v1/requests" => lately::requests(&runtime, query),
            _ => not_so(path),
        }
    }

    fn ready(&self) -> Answer {
        if self.foundation.is_ready() {
            return match self.foundation.config_error() {
                None => text(StatusCode::OK, "ready\n"),
                // It serves, by the configuration before.
                Some(why) => text(
                    StatusCode::OK,
                    &format!("ready; the last reload was refused:\n{why}\n"),
                ),
            };
        }
        text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
    }

    /// Not here: the kernel is asked for what the process takes.
    async fn metrics(&self) -> Answer {
        let (foundation, runtime) = (self.foundation.clone(), self.current.load_full());
        let render = move || {
            foundation.report(&runtime);
            foundation.metrics.render()
        };
        let page = tokio::task::spawn_blocking(render).await;
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        page.map_or_else(
            |_| failed(),
            |page| answer(StatusCode::OK, content_type, page),
        )
    }

    /// None: who asks may.
    fn refusal(&self, fields: &HeaderMap) -> Option<Answer> {
        let runtime = self.current.load();
        let Some(wanted) = &runtime.admin_token else {
            return visitor::refusal(fields);
        };
        let given = fields.get(AUTHORIZATION);
        let given = given.and_then(|value| bearer(value.as_bytes()));
        // Compared by digest, so that the time it takes says nothing of where they differ.
        let is_it = |given| Sha256::digest(given) == Sha256::digest(wanted.as_bytes());
        (!given.is_some_and(is_it)).then(unauthorized)
    }
}

/// RFC 6750 §2.1; schemes are the same in any case, RFC 9110 §11.1.
fn bearer(credentials: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = credentials.split_at_checked("bearer ".len())?;
    let is_bearer = scheme.eq_ignore_ascii_case(b"bearer ");
    is_bearer.then(|| token.trim_ascii())
}

async fn look(question: Result<top::Question, String>, runtime: Arc<Runtime>) -> Answer {
    let look = move || question?.answer(&runtime);
    match tokio::task::spawn_blocking(look).await {
        Ok(Ok(top)) => json(&top),
        Ok(Err(why)) => refused(&why),
        Err(_) => failed(),
    }
}
