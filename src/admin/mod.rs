//! The operators' listener: health, readiness, metrics, servers, purges, what is in the caches.
//! Loopback by default; a token elsewhere.

mod bans;
mod purge;
mod settings;
mod top;
mod upstreams;

pub use bans::{BanOrder, LiftOrder};
pub use purge::Order as PurgeOrder;
pub use settings::AdminSettings;
pub use upstreams::{ServerName, SplitName};

use crate::cache::Told;
use crate::listen::{Begun, Conn, ConnLimits, Place};
use crate::runtime::{Foundation, Runtime};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Method, Response, StatusCode};
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

/// An order names one thing.
const MAX_BODY: usize = 64 << 10;

pub struct Admin {
    app: Arc<HttpServer<Pages>>,
    shutdown: ShutdownWatch,
}

struct Pages {
    current: Arc<ArcSwap<Runtime>>,
    foundation: Arc<Foundation>,
}

impl Admin {
    pub fn new(
        current: Arc<ArcSwap<Runtime>>,
        foundation: Arc<Foundation>,
        shutdown: ShutdownWatch,
    ) -> Admin {
        let app = HttpServer::new_app(Pages {
            current,
            foundation,
        });
        Admin {
            app: Arc::new(app),
            shutdown,
        }
    }

    /// Serves a connection to its end.
    pub async fn serve(self: Arc<Admin>, io: TcpStream, peer: SocketAddr, _place: Place) {
        let mut conn = Box::new(Conn::new(io, peer));
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
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let request = session.req_header();
        let path = request.uri.path();
        if request.method == Method::POST {
            return match self.may_enter(session) {
                true => self.order(session).await,
                false => unauthorized(),
            };
        }
        if !matches!(request.method, Method::GET | Method::HEAD) {
            return text(StatusCode::METHOD_NOT_ALLOWED, "Only GET, HEAD and POST.\n");
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
            "/api/v1/cache/top" => self.top(request.uri.query().unwrap_or_default()).await,
            "/api/v1/upstreams" => self.upstreams(),
            "/api/v1/bans" => page(&bans::show(&self.current.load())),
            _ => text(StatusCode::NOT_FOUND, INDEX),
        }
    }
}

const INDEX: &str = "Lakh admin

/healthz           the process lives
/readyz            it takes traffic
/metrics           for Prometheus
/api/v1/upstreams  servers: what state they are in and why; splits
/api/v1/cache/top  what is asked for most: ?zone=NAME&limit=20
/purge             POST {\"url\": …}, or prefix, host, tag; {\"soft\": true} makes it stale only
/drain             POST {\"upstream\": …, \"server\": \"IP:PORT\"}: it finishes what it has and gets nothing new
/undrain           POST the same: it is as before
/api/v1/bans       addresses that are kept out, and for how long
/ban               POST {\"address\": …, \"seconds\": 600}: it is kept out
/unban             POST {\"address\": …}: it may come in again
/restore           POST {\"route\": …}: a split whose side was rolled back gets its shares again
";

impl Pages {
    fn ready(&self) -> Response<Vec<u8>> {
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

    /// What changes something.
    async fn order(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        let path = session.req_header().uri.path().to_owned();
        let runtime = self.current.load_full();
        let done = match path.as_str() {
            "/purge" => self.purge(session).await,
            "/drain" | "/undrain" => {
                let draining = path == "/drain";
                let drain = |name: &ServerName| name.set_draining(draining, &runtime);
                carry_out(session, drain).await
            }
            "/ban" => {
                carry_out(session, |order: &BanOrder| {
                    order.run(&runtime, &self.foundation.metrics)
                })
                .await
            }
            "/unban" => carry_out(session, |order: &LiftOrder| order.run(&runtime)).await,
            "/restore" => carry_out(session, |name: &SplitName| name.restore(&runtime)).await,
            _ => return text(StatusCode::METHOD_NOT_ALLOWED, INDEX),
        };
        done.unwrap_or_else(|refusal| refusal)
    }

    async fn purge(
        &self,
        session: &mut ServerSession,
    ) -> Result<Response<Vec<u8>>, Response<Vec<u8>>> {
        let order: PurgeOrder = read_order(session).await?;
        let purged = order.run(&self.current.load_full(), &self.foundation).await;
        let purged = purged.map_err(|why| refused(&why))?;
        tracing::info!(?order, ?purged, "purged");
        let disk = match purged.disk {
            None => "",
            Some(true) => "disk: told\n",
            Some(false) => "disk: pending, until it can be written\n",
        };
        let fleet = match purged.fleet {
            None => "",
            Some(Told::Told) => "fleet: told\n",
            Some(Told::Pending) => "fleet: pending, until Redis can be reached\n",
        };
        Ok(text(StatusCode::OK, &format!("ok\n{disk}{fleet}")))
    }

    async fn top(&self, query: &str) -> Response<Vec<u8>> {
        let (runtime, query) = (self.current.load_full(), query.to_owned());
        let look = move || top::Question::parse(&query)?.answer(&runtime);
        match tokio::task::spawn_blocking(look).await {
            Ok(Ok(top)) => json(StatusCode::OK, &top),
            Ok(Err(why)) => text(StatusCode::BAD_REQUEST, &format!("{why}\n")),
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "It failed.\n"),
        }
    }

    fn upstreams(&self) -> Response<Vec<u8>> {
        page(&upstreams::show(&self.current.load()))
    }

    fn metrics(&self) -> Response<Vec<u8>> {
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

/// For people too: `lakh upstreams` and the like print it as it is.
fn page(value: &serde_json::Value) -> Response<Vec<u8>> {
    let page = format!("{value:#}\n");
    answer(StatusCode::OK, "application/json", page.into_bytes())
}

/// Reads an order and carries it out, or says what is wrong with it.
async fn carry_out<T: serde::de::DeserializeOwned + std::fmt::Debug>(
    session: &mut ServerSession,
    run: impl FnOnce(&T) -> Result<(), String>,
) -> Result<Response<Vec<u8>>, Response<Vec<u8>>> {
    let order: T = read_order(session).await?;
    run(&order).map_err(|why| refused(&why))?;
    tracing::info!(?order, "{}", session.req_header().uri.path());
    Ok(text(StatusCode::OK, "ok\n"))
}

async fn read_order<T: serde::de::DeserializeOwned>(
    session: &mut ServerSession,
) -> Result<T, Response<Vec<u8>>> {
    // A form on some web page could send any other type here, from an operator's browser.
    let json = session.req_header().headers.get(CONTENT_TYPE);
    if !json.is_some_and(|v| v.as_bytes().starts_with(b"application/json")) {
        return Err(text(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "Send Content-Type: application/json.\n",
        ));
    }
    let body = read_body(session).await;
    let body = body.ok_or_else(|| refused("The body is too long or broke off."))?;
    serde_json::from_slice(&body).map_err(|e| refused(&e.to_string()))
}

fn refused(why: &str) -> Response<Vec<u8>> {
    text(StatusCode::BAD_REQUEST, &format!("{why}\n"))
}

async fn read_body(session: &mut ServerSession) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = session.read_request_body().await.ok()? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY {
            return None;
        }
    }
    Some(body)
}

fn unauthorized() -> Response<Vec<u8>> {
    let mut answer = text(
        StatusCode::UNAUTHORIZED,
        "Send the admin token: Authorization: Bearer …\n",
    );
    answer
        .headers_mut()
        .insert(WWW_AUTHENTICATE, http::HeaderValue::from_static("Bearer"));
    answer
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Vec<u8>> {
    let body = serde_json::to_vec(value).expect("numbers and text");
    answer(status, "application/json", body)
}

fn text(status: StatusCode, body: &str) -> Response<Vec<u8>> {
    answer(
        status,
        "text/plain; charset=utf-8",
        body.as_bytes().to_vec(),
    )
}

fn answer(status: StatusCode, content_type: &str, body: Vec<u8>) -> Response<Vec<u8>> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CONTENT_LENGTH, body.len())
        .body(body)
        .expect("fields written here are valid")
}
