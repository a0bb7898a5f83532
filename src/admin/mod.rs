//! The operators' listener: health, readiness, metrics, servers, purges, what is in the caches.
//! Loopback by default; a token elsewhere.

mod answers;
mod bans;
mod orders;
mod purge;
mod settings;
mod status;
mod top;
mod upstreams;

pub use bans::{BanOrder, LiftOrder};
pub use orders::{Deed, Deeds};
pub use purge::Order as PurgeOrder;
pub use settings::AdminSettings;
pub use upstreams::{ServerName, SplitName};

use crate::listen::{Begun, Conn, ConnLimits, Entry, Place};
use crate::runtime::{Foundation, Runtime};
use answers::{Answer, answer, failed, json, page, problem, refused, text, unauthorized};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::header::AUTHORIZATION;
use http::{Method, StatusCode};
use pingora::apps::HttpServerApp;
use pingora::apps::http_app::{HttpServer, ServeHttp};
use pingora::protocols::http::ServerSession;
use pingora::server::ShutdownWatch;
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

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
    pub async fn serve(self: Arc<Admin>, io: TcpStream, peer: SocketAddr, _place: Place) {
        let mut conn = Box::new(Conn::new(io, peer, self.entry.clone()));
        while conn.begin(&LIMITS).await == Begun::Request {
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
        let request = session.req_header();
        let path = request.uri.path();
        if request.method == Method::POST {
            return match self.may_enter(session) {
                true => self.order(session).await,
                false => unauthorized(),
            };
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let status = StatusCode::METHOD_NOT_ALLOWED;
            return problem(status, "method", "Only GET, HEAD and POST.");
        }
        // Whether it lives is no secret, and container platforms send no tokens.
        match path {
            "/healthz" => return text(StatusCode::OK, "ok\n"),
            "/readyz" => return self.ready(),
            _ => {}
        }
        if !self.may_enter(session) {
            return unauthorized();
        }
        match path {
            "/" => text(StatusCode::OK, INDEX),
            "/metrics" => self.metrics(),
            "/api/v1/status" => page(&status::show(&self.current.load(), &self.foundation)),
            "/api/v1/config" => page(&self.current.load().written.shown()),
            "/api/v1/cache/top" => self.top(request.uri.query().unwrap_or_default()).await,
            "/api/v1/upstreams" => self.upstreams(),
            "/api/v1/bans" => page(&bans::show(&self.current.load())),
            _ => {
                let status = StatusCode::NOT_FOUND;
                problem(status, "no-such-page", "GET / says which there are.")
            }
        }
    }
}

const INDEX: &str = "Lakh admin

/healthz           the process lives
/readyz            it takes traffic
/metrics           for Prometheus
/api/v1/status     how the edge is
/api/v1/config     the configuration in force, without its secrets
/api/v1/upstreams  servers: what state they are in and why; splits
/api/v1/cache/top  what is asked for most: ?zone=NAME&limit=20
/purge             POST {\"url\": …}, or prefix, host, tag; {\"soft\": true} makes it stale only
/drain             POST {\"upstream\": …, \"server\": \"IP:PORT\"}: it finishes what it has and gets nothing new
/undrain           POST the same: it is as before
/api/v1/bans       addresses that are kept out, and for how long
/ban               POST {\"address\": …, \"seconds\": 600}: it is kept out
/unban             POST {\"address\": …}: it may come in again
/restore           POST {\"route\": …}: a split whose side was rolled back gets its shares again
/api/v1/explain    POST {\"method\": \"GET\", \"url\": …}: what would be done with such a request, and why
/api/v1/validate   POST {}: what a reload would change
/api/v1/reload     POST {}: the configuration is read again
";

impl Pages {
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

    async fn top(&self, query: &str) -> Answer {
        let (runtime, query) = (self.current.load_full(), query.to_owned());
        let look = move || top::Question::parse(&query)?.answer(&runtime);
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(top)) => json(&top),
            Ok(Err(why)) => refused(&why),
            Err(_) => failed(),
        }
    }

    fn upstreams(&self) -> Answer {
        page(&upstreams::show(&self.current.load()))
    }

    fn metrics(&self) -> Answer {
        self.foundation.report(&self.current.load());
        let page = self.foundation.metrics.render();
        answer(
            StatusCode::OK,
            "text/plain; version=0.0.4; charset=utf-8",
            page,
        )
    }

    fn may_enter(&self, session: &ServerSession) -> bool {
        let runtime = self.current.load();
        let Some(wanted) = &runtime.admin_token else {
            return true;
        };
        let given = session.req_header().headers.get(AUTHORIZATION);
        let given = given.and_then(|v| v.as_bytes().strip_prefix(b"Bearer "));
        // Compared by digest, so that the time it takes says nothing of where they differ.
        given.is_some_and(|given| Sha256::digest(given) == Sha256::digest(wanted.as_bytes()))
    }
}
