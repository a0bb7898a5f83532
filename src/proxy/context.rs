//! One request's state, from its head to its log line.

use super::answer::Problem;
use super::finish::{Sent, finish};
use super::request::Request;
use crate::cache::{Found, Key, Zone};
use crate::compress::Stream;
use crate::grpc::Bridge;
use crate::guard::{Claims, Standings};
use crate::listen::tls::Secured;
use crate::listen::{Entry, Place};
use crate::observe::{Metrics, Trace};
use crate::runtime::{Route, Runtime};
use crate::upstream::{Journal, Lease, Pool, Response, ServerId, Tries, Turn};
use http::{HeaderMap, HeaderValue, StatusCode, Version};
use pingora::http::RequestHeader;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

pub struct Context {
    /// Pinned once: the request sees one configuration.
    pub runtime: Arc<Runtime>,
    /// Nobody asks: what would be done is wanted, and nothing is taken, counted or kept for it.
    pub looking: bool,
    pub metrics: Arc<Metrics>,
    pub started: Instant,
    pub id: RequestId,
    /// The client, as far as proxies in between can be trusted.
    pub client: IpAddr,
    /// The address that the connection comes from.
    pub peer: IpAddr,
    pub peer_port: u16,
    /// The address that the connection came to, where that is of TCP.
    pub local: Option<SocketAddr>,
    /// By what the request came.
    pub received: Version,
    pub peer_is_trusted: bool,
    /// How the connection came in; set as soon as it is known.
    pub entry: Option<Arc<Entry>>,
    /// Among those of its client and of its route, where those are bounded.
    pub running: Running,
    /// Set as soon as one is found.
    pub route: Option<Arc<Route>>,
    /// What is proven about who asks.
    pub claims: Option<Arc<Claims>>,
    /// Why it is refused all the same, once its limits have counted it.
    pub unproven: Option<Problem>,
    /// How the route's limits stand, once they were asked.
    pub standings: Standings,
    /// Of the page that asks, where the route has rules for that.
    pub origin: Option<HeaderValue>,
    /// The client came over TLS, as far as that is known; for routes that tell it to stay there.
    pub secure: bool,
    /// It asks what a page may ask.
    pub preflight: bool,
    /// Asks to switch protocols.
    pub upgrade: bool,
    /// Path and query of what it is about, where its own path only says what to make of that.
    pub target: Option<Box<[u8]>>,
    /// Bytes of the request's body so far.
    pub body_bytes: u64,
    /// The server that has the request now, in Pingora's proxy.
    pub lease: Option<Lease>,
    /// What became of it at servers.
    pub journal: Journal,
    /// What became of the fill that it leads.
    pub filled: OnceLock<Told>,
    /// Set where it is traced.
    pub trace: Option<Trace>,
    pub tries: Tries,
    /// Within the upstream's concurrency, once it was let in.
    pub turn: Option<Turn>,
    /// The client has let its server wait for the rest of its body.
    pub stalled: bool,
    /// Which of a split's upstreams.
    pub side: Option<usize>,
    /// A kept connection turned out to be closed; that says nothing about its server.
    pub stale_connection: bool,
    /// From the sticky cookie.
    pub preferred: Option<ServerId>,
    pub cache: Option<CacheStatus>,
    /// Codes the answer's body as it passes.
    pub stream: Option<Stream>,
    /// Set for a page's call to a server that speaks gRPC.
    pub bridge: Option<Box<Bridge>>,
    /// Why a call of gRPC was refused, which it was told with a 200.
    pub refused_call: Option<StatusCode>,
    /// Why the request failed, for the log.
    pub error: Option<String>,
    /// Its head, where the way to its end may be cut off: what is still here then is counted and told as left.
    pub unfinished: Option<Box<RequestHeader>>,
}

/// Set by a fill before whoever waits hears of it.
pub type Told = Arc<OnceLock<Journal>>;

/// What the cache did for a request: `Cache-Status`, RFC 9211.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheStatus {
    Hit {
        ttl: i64,
    },
    /// A hit in a slower tier, which is named.
    Recalled {
        ttl: i64,
        tier: &'static str,
    },
    /// Answered with what was stored because the origin failed.
    StaleOnError {
        ttl: i64,
    },
    /// Fetched, and stored.
    Miss {
        why: &'static str,
        collapsed: bool,
        detail: Option<&'static str>,
    },
    /// Stored, but the origin said that it still holds.
    Revalidated {
        why: &'static str,
        collapsed: bool,
        /// Not where that was said to one client alone.
        stored: bool,
    },
    /// Went to the origin and was not stored.
    Forwarded {
        why: &'static str,
        detail: Option<&'static str>,
    },
}

impl Context {
    pub fn new(runtime: Arc<Runtime>, metrics: Arc<Metrics>) -> Context {
        metrics.in_flight.inc();
        Context {
            runtime,
            looking: false,
            metrics,
            started: Instant::now(),
            id: RequestId::new(),
            client: Ipv4Addr::UNSPECIFIED.into(),
            peer: Ipv4Addr::UNSPECIFIED.into(),
            peer_port: 0,
            local: None,
            received: Version::HTTP_11,
            peer_is_trusted: false,
            entry: None,
            running: Running::default(),
            route: None,
            claims: None,
            unproven: None,
            standings: Standings::default(),
            origin: None,
            secure: false,
            preflight: false,
            upgrade: false,
            target: None,
            body_bytes: 0,
            lease: None,
            journal: Journal::default(),
            filled: OnceLock::new(),
            trace: None,
            tries: Tries::default(),
            turn: None,
            stalled: false,
            side: None,
            stale_connection: false,
            preferred: None,
            cache: None,
            stream: None,
            bridge: None,
            refused_call: None,
            error: None,
            unfinished: None,
        }
    }

    /// The connection comes from there, and came to `local`.
    pub fn comes(&mut self, peer: SocketAddr, local: Option<SocketAddr>) {
        (self.peer, self.peer_port) = (peer.ip().to_canonical(), peer.port());
        self.local = local;
    }

    /// What a zone has for a request.
    pub fn find(&self, zone: &Zone<Response>, key: Key, headers: &HeaderMap, now: u64) -> Found {
        match self.looking {
            false => zone.find(key, headers, now),
            true => zone.look(key, headers, now),
        }
    }

    /// `X-Cache`, where the route asks for it.
    pub fn x_cache(&self) -> Option<&'static str> {
        let cache = self.route.as_ref()?.cache.as_ref()?;
        self.cache
            .filter(|_| cache.x_cache)
            .map(CacheStatus::x_cache)
    }

    /// The name of the listener that it came by.
    pub fn listener(&self) -> &str {
        self.entry.as_ref().map_or("-", |entry| &entry.listener)
    }

    /// What was agreed on, where the request came inside TLS to us.
    pub fn secured(&self) -> Option<&Secured> {
        self.entry.as_deref()?.secured()
    }

    /// Who asks has proven something of themselves, so that what is answered may be for them alone.
    pub fn is_proven(&self) -> bool {
        let shows = |secured: &Secured| secured.client.is_some();
        self.claims.is_some() || self.secured().is_some_and(shows)
    }

    /// Path and query that a server is asked for.
    pub fn target<'a>(&'a self, request: &'a RequestHeader) -> &'a [u8] {
        self.target.as_deref().unwrap_or(request.raw_path())
    }

    /// The route, in phases that only a routed request reaches.
    pub fn routed(&self) -> &Arc<Route> {
        self.route
            .as_ref()
            .expect("a phase after request_filter: the request has a route")
    }

    /// The limit that refused the request, or that would have.
    pub fn limit(&self, dry: bool) -> Option<&str> {
        let stop = self.standings.stopped_by().filter(|by| by.dry == dry)?;
        Some(self.route.as_ref()?.limits.name(stop.limit))
    }

    /// The upstream: the route's, or this request's side of its split.
    pub fn pool(&self) -> &Arc<Pool> {
        self.routed().pool(self.side)
    }
}

/// Counts as running until dropped.
#[derive(Default)]
pub struct Running {
    pub of_client: Option<Place>,
    pub of_route: Option<OfRoute>,
}

pub struct OfRoute(Arc<Route>);

impl OfRoute {
    /// None: as many run as may.
    pub fn begin(route: &Arc<Route>, most: usize) -> Option<OfRoute> {
        let running = &route.metrics.running;
        running.inc();
        let begun = OfRoute(route.clone());
        (running.get() <= most as i64).then_some(begun)
    }
}

impl Drop for OfRoute {
    fn drop(&mut self) {
        self.0.metrics.running.dec();
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
        if let Some(head) = self.unfinished.take() {
            let nothing = Sent {
                status: 0,
                bytes: 0,
            };
            let why = || Some("the client wants no answer any more".to_owned());
            finish(&Request::of(&head), self, &nothing, why);
        }
    }
}

impl CacheStatus {
    /// The field's value.
    pub fn to_value(self) -> String {
        match self {
            CacheStatus::Hit { ttl } => format!("lakh; hit; ttl={ttl}"),
            CacheStatus::Recalled { ttl, tier } => format!("lakh; hit; ttl={ttl}; detail={tier}"),
            CacheStatus::StaleOnError { ttl } => {
                format!("lakh; hit; ttl={ttl}; detail=stale-if-error")
            }
            CacheStatus::Miss {
                why,
                collapsed,
                detail,
            } => {
                let collapsed = if collapsed { "; collapsed" } else { "" };
                let detail = detail.map_or(String::new(), |detail| format!("; detail={detail}"));
                format!("lakh; fwd={why}; stored{collapsed}{detail}")
            }
            CacheStatus::Revalidated {
                why,
                collapsed,
                stored,
            } => {
                let stored = if stored { "; stored" } else { "" };
                let collapsed = if collapsed { "; collapsed" } else { "" };
                format!("lakh; fwd={why}; fwd-status=304{stored}{collapsed}")
            }
            CacheStatus::Forwarded { why, detail: None } => format!("lakh; fwd={why}"),
            CacheStatus::Forwarded {
                why,
                detail: Some(detail),
            } => {
                format!("lakh; fwd={why}; detail={detail}")
            }
        }
    }

    /// `X-Cache` has no standard; these are the words that most caches use.
    fn x_cache(self) -> &'static str {
        match self.label() {
            "hit" => "HIT",
            "stale" => "STALE",
            "revalidated" => "REVALIDATED",
            "miss" => "MISS",
            _ => "PASS",
        }
    }

    /// For the log.
    pub fn label(self) -> &'static str {
        match self {
            CacheStatus::Hit { ttl } | CacheStatus::Recalled { ttl, .. } if ttl > 0 => "hit",
            CacheStatus::Hit { .. }
            | CacheStatus::Recalled { .. }
            | CacheStatus::StaleOnError { .. } => "stale",
            CacheStatus::Miss { .. } => "miss",
            CacheStatus::Revalidated { .. } => "revalidated",
            CacheStatus::Forwarded { .. } => "pass",
        }
    }
}

/// 128 random bits in hexadecimal, or what a trusted proxy has sent.
#[derive(Clone, Debug)]
pub struct RequestId(IdText);

#[derive(Clone, Debug)]
enum IdText {
    Own([u8; 32]),
    Theirs(Box<str>),
}

/// Longer ones are not taken over: they would be copied into every log line.
const MAX_ID: usize = 128;

impl RequestId {
    pub fn new() -> RequestId {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut bits = fastrand::u128(..);
        RequestId(IdText::Own(std::array::from_fn(|_| {
            let digit = HEX[(bits & 15) as usize];
            bits >>= 4;
            digit
        })))
    }

    /// A trusted proxy's, unless it is too long or not plain text.
    pub fn adopt(&mut self, theirs: &[u8]) {
        let plain = theirs.iter().all(u8::is_ascii_graphic);
        if (1..=MAX_ID).contains(&theirs.len()) && plain {
            let text = String::from_utf8_lossy(theirs);
            self.0 = IdText::Theirs(text.into());
        }
    }

    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            IdText::Own(digits) => digits,
            IdText::Theirs(text) => text.as_bytes(),
        }
    }

    pub fn as_str(&self) -> &str {
        match &self.0 {
            IdText::Own(digits) => std::str::from_utf8(digits).expect("hexadecimal digits"),
            IdText::Theirs(text) => text,
        }
    }
}

impl Default for RequestId {
    fn default() -> RequestId {
        RequestId::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_differ_and_only_plain_ones_are_adopted() {
        let (mut one, two) = (RequestId::new(), RequestId::new());
        assert_ne!(one.as_str(), two.as_str());
        assert_eq!(one.as_str().len(), 32);
        let own = one.as_str().to_owned();
        for bad in [&b""[..], b"a b", b"a\nb", &[b'x'; 200]] {
            one.adopt(bad);
            assert_eq!(one.as_str(), own);
        }
        one.adopt(b"abc-1");
        assert_eq!(one.as_str(), "abc-1");
    }

    #[test]
    fn cache_status_is_as_rfc_9211_says() {
        assert_eq!(CacheStatus::Hit { ttl: 30 }.to_value(), "lakh; hit; ttl=30");
        let miss = CacheStatus::Miss {
            why: "miss",
            collapsed: true,
            detail: None,
        };
        assert_eq!(miss.to_value(), "lakh; fwd=miss; stored; collapsed");
        let made = CacheStatus::Miss {
            why: "stale",
            collapsed: false,
            detail: Some("original"),
        };
        assert_eq!(made.to_value(), "lakh; fwd=stale; stored; detail=original");
        let pass = CacheStatus::Forwarded {
            why: "miss",
            detail: Some("private"),
        };
        assert_eq!(pass.to_value(), "lakh; fwd=miss; detail=private");
    }
}
