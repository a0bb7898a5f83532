//! One configuration, ready to serve: what a request pins once and sees unchanged to its end.
//!
//! Built whole by `Foundation::build`, which changes nothing that is running; put in force by
//! `Foundation::commit`. What must survive a reload (servers and their health, limiter buckets,
//! stored objects, the image pool) lives in the `Foundation` and is found again by name.

mod images;

pub use images::{Done, Images, Ticket};

use crate::cache::{Force, KeyRules, Name, Redis, RouteTtl, Told, Zone, Zones};
use crate::compress::Encoders;
use crate::config::{Config, HeaderEdits, RouteSettings, Written};
use crate::guard::{
    AddressRules, Auth, Auths, Ban, Bans, Cors, Fetch, Fleet, Identity, Limiter, Limiters,
    Limits as RateLimits, Networks, Offence, SecurityHeaders,
};
use crate::listen::tls::{Listening, OwnSecrets};
use crate::listen::{Caps, Limits};
use crate::observe::{AccessLog, ImageMetrics, Metrics, RouteMetrics};
use crate::route::Router;
use crate::upstream::{Client, Pool, Priority, Registry, Response, Split, UpstreamSettings};
use bytes::Bytes;
use http::{HeaderMap, HeaderName};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Connections to servers that are kept for reuse, in all.
const IDLE_CONNECTIONS: usize = 1024;

/// Bytes of an issuer's key set, and how long it may take to come.
const KEY_SET: usize = 1 << 20;
const KEY_SET_PATIENCE: Duration = Duration::from_secs(5);

/// How long purges and objects may take to be on disk.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// What outlives every configuration.
pub struct Foundation {
    pub metrics: Arc<Metrics>,
    pub caps: Arc<Caps>,
    /// TLS handshakes that have begun and not ended.
    pub handshakes: Arc<Caps>,
    tickets: OwnSecrets,
    pub client: Client,
    pub image_metrics: ImageMetrics,
    pub encoders: Arc<Encoders>,
    pub registry: Arc<Registry>,
    limiters: Limiters,
    bans: Arc<Bans>,
    clients: Arc<Caps>,
    auths: Auths,
    zones: Arc<Zones<Response>>,
    redis: Mutex<Option<Arc<Redis>>>,
    fleet: Mutex<Option<Arc<Fleet>>>,
    images: Mutex<Option<Arc<Images>>>,
    ready: AtomicBool,
    /// Why the last reload was refused.
    config_error: Mutex<Option<String>>,
}

pub struct Runtime {
    pub config: Config,
    /// What `config` was read from.
    pub written: Written,
    pub listeners: Vec<Arc<Listening>>,
    pub limits: Limits,
    pub trusted: Networks,
    pub routes: Vec<Arc<Route>>,
    /// To an index in `routes`.
    router: Router<usize>,
    pub pools: Vec<Arc<Pool>>,
    pub zones: Vec<Arc<Zone<Response>>>,
    redis: Option<Arc<Redis>>,
    fleet: Option<Arc<Fleet>>,
    limiters: Vec<Arc<Limiter>>,
    auths: Vec<Arc<Auth>>,
    /// None where no route makes pictures.
    pub images: Option<Arc<Images>>,
    /// Upstreams of the hosts that pictures may come from.
    pub sources: HashMap<String, Arc<Pool>>,
    pub encoders: Arc<Encoders>,
    pub access_log: AccessLog,
    /// Fields by which an origin purges tags.
    pub invalidate_headers: Vec<HeaderName>,
    pub bans: Arc<Bans>,
    /// Requests that run, by client.
    pub clients: Arc<Caps>,
    /// What `admin.token_file` holds.
    pub admin_token: Option<String>,
}

/// A route with all that it names.
pub struct Route {
    pub name: Arc<str>,
    /// The upstream, or the first side of its split.
    pool: Arc<Pool>,
    pub split: Option<Split>,
    pub auth: Option<RouteAuth>,
    pub cors: Option<Cors>,
    pub security_headers: SecurityHeaders,
    pub maintenance: Option<Maintenance>,
    pub header_size: Option<usize>,
    pub url_length: Option<usize>,
    pub addresses: AddressRules,
    pub limits: RateLimits,
    pub strip_prefix: Option<Box<str>>,
    pub request_headers: HeaderEdits,
    pub response_headers: HeaderEdits,
    pub timeout: Option<Duration>,
    pub body_size: u64,
    pub cache: Option<Arc<RouteCache>>,
    /// Set on a route that resizes images.
    pub images: Option<Arc<Images>>,
    /// Whether text is coded for clients that accept it.
    pub compress: bool,
    pub priority: Priority,
    /// Requests at once; more are refused.
    pub concurrency: Option<usize>,
    pub metrics: RouteMetrics,
}

/// What a route's requests must prove.
pub struct RouteAuth {
    pub auth: Arc<Auth>,
    /// Claims by name and value, all of them.
    pub require: Vec<(String, String)>,
}

impl RouteAuth {
    /// Whether whoever asks has proven these claims. Who can't be told yet may have: `require` has
    /// them too, and decides.
    fn may_hold(&self, headers: &HeaderMap, claims: &[(String, String)], now: u64) -> bool {
        match self.auth.check(headers, now, false) {
            Identity::Known(known) => claims.iter().all(|(name, is)| known.holds(name, is)),
            Identity::Undecided(_) | Identity::NoKeys => true,
            Identity::Nobody | Identity::Refused(_) => false,
        }
    }
}

/// What a route says while it is being worked on.
pub struct Maintenance {
    pub retry_after: Duration,
    /// Who is let in all the same.
    pub allow: Networks,
    pub page: Option<Bytes>,
}

/// How a route uses its zone.
pub struct RouteCache {
    pub zone: Arc<Zone<Response>>,
    pub keys: KeyRules,
    pub ttl: RouteTtl,
    pub refresh_ahead: Option<f64>,
    pub x_cache: bool,
    /// None: `PURGE` is a method like any other.
    pub purge_from: Option<Networks>,
}

/// How far a purge has come, beyond this process's memory.
#[derive(Clone, Copy, Debug)]
pub struct Purged {
    /// Whether it outlives the process; None where nothing else does.
    pub disk: Option<bool>,
    /// None: there is no fleet.
    pub fleet: Option<Told>,
}

impl Foundation {
    pub fn new(metrics: Arc<Metrics>) -> Foundation {
        Foundation {
            caps: Caps::new(),
            handshakes: Caps::new(),
            tickets: OwnSecrets::new(Instant::now()),
            client: Client::new(IDLE_CONNECTIONS),
            image_metrics: metrics.images.clone(),
            encoders: Arc::new(Encoders::new(coding_workers(), metrics.codings.clone())),
            registry: Registry::new(metrics.clone()),
            limiters: Limiters::default(),
            bans: Arc::default(),
            clients: Caps::new(),
            auths: Auths::default(),
            zones: Arc::default(),
            redis: Mutex::new(None),
            fleet: Mutex::new(None),
            images: Mutex::new(None),
            ready: AtomicBool::new(false),
            config_error: Mutex::new(None),
            metrics,
        }
    }

    /// Whether the edge takes traffic: it has started, and does not drain.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Relaxed)
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub fn config_error(&self) -> Option<String> {
        self.config_error
            .lock()
            .expect("no code panics while it holds this lock")
            .clone()
    }

    pub fn set_config_error(&self, why: Option<String>) {
        *self
            .config_error
            .lock()
            .expect("no code panics while it holds this lock") = why;
    }

    /// Takes back what is stored under these names, in all zones, and in those of the fleet. Waits a
    /// moment for it to arrive everywhere.
    pub async fn purge(&self, names: &[Name], force: Force) -> Purged {
        let told = self.purge_at_once(names, force);
        Purged {
            disk: self.zones.settle_purges(DISK_PATIENCE).await,
            fleet: match told {
                Some((redis, number)) => Some(redis.told(number).await),
                None => None,
            },
        }
    }

    /// The same without waiting: here it is gone. The number is for `Redis::told`.
    pub fn purge_at_once(&self, names: &[Name], force: Force) -> Option<(Arc<Redis>, u64)> {
        self.metrics.purges.inc_by(names.len() as u64);
        let (redis, mut last) = (self.redis(), 0);
        for name in names {
            last = match &redis {
                Some(redis) => redis.purge(*name, force),
                None => self.zones.purges.purge(*name, force),
            };
        }
        redis.map(|redis| (redis, last))
    }

    /// Looks at files of listeners that may have changed. For a thread that may block.
    pub fn look_at_files(&self, runtime: &Runtime) {
        let secured = runtime.listeners.iter().flat_map(|l| &l.tls);
        secured.for_each(|tls| tls.look(&self.tickets));
    }

    /// Waits a moment for what was stored to be on disk. The last thing before the process ends.
    pub async fn flush(&self) {
        self.zones.flush(DISK_PATIENCE).await;
    }

    fn redis(&self) -> Option<Arc<Redis>> {
        self.redis
            .lock()
            .expect("no code panics while it holds this lock")
            .clone()
    }

    /// Brings gauges up to date that are read rather than counted.
    pub fn report(&self, runtime: &Runtime) {
        self.registry.report(&runtime.pools);
        self.encoders.report();
        self.auths.report();
        runtime.zones.iter().for_each(|zone| zone.report());
        self.metrics.handshakes.set(self.handshakes.open() as i64);
        self.metrics.forget_tls();
        let secured = runtime.listeners.iter().flat_map(|l| &l.tls);
        secured.for_each(|tls| tls.report());
        let bans = self.bans.list(Instant::now());
        self.metrics.banned.set(bans.len() as i64);
        if let Some(images) = runtime.images.as_deref() {
            let (metrics, pools) = (&self.metrics.images, [&images.pool, &images.slow_pool]);
            metrics
                .queue
                .set(pools.iter().map(|pool| pool.waiting() as i64).sum());
            metrics
                .running
                .set(pools.iter().map(|pool| pool.running() as i64).sum());
            metrics.memory.set(images.memory.used() as i64);
        }
    }

    /// All of a configuration, or why it can't be. Nothing that runs is changed.
    pub fn build(&self, config: Config, written: Written) -> Result<Runtime, String> {
        let images = &config.images;
        let of_source =
            |source: &String| UpstreamSettings::of_source(source, images.private_sources);
        let upstreams = config.upstreams.iter().cloned();
        let upstreams: Vec<_> = upstreams
            .chain(images.sources.iter().map(of_source))
            .collect();
        let pools = self.registry.pools(&upstreams)?;
        let of_sources = pools[config.upstreams.len()..].iter().cloned();
        let sources = images.sources.iter().cloned().zip(of_sources).collect();
        let limiters = self
            .limiters
            .build(&config.rate_limits, |name| self.metrics.limit(name));
        let auths = self
            .auths
            .build(&config.auths, |name| self.metrics.auth(name))?;
        let redis = self.redis_for(&config);
        let fleet = self.fleet_for(&config);
        let zones = self
            .zones
            .build(&config.caches, redis.as_ref(), &self.metrics);
        let makes_images = config.routes.iter().any(|route| route.images);
        let images = makes_images.then(|| self.images(&config.images));
        let access_log = AccessLog::open(&config.access_log, self.metrics.clone())
            .map_err(|e| format!("access_log.to can't be opened: {e}"))?;
        let admin_token = config
            .admin
            .token_file
            .as_deref()
            .map(read_token)
            .transpose()?;
        let listening = |settings| {
            let metrics = |name: &str| self.metrics.tls(name);
            Listening::new(settings, &self.tickets, metrics).map(Arc::new)
        };
        let listeners = config.listeners.iter().map(listening);
        let listeners = listeners.collect::<Result<_, _>>()?;
        let maintenance = config.routes.iter().map(maintenance);
        let maintenance: Vec<_> = maintenance.collect::<Result<_, _>>()?;
        let route = |(settings, maintenance): (&RouteSettings, _)| {
            Arc::new(Route {
                maintenance,
                auth: settings.auth.map(|auth| RouteAuth {
                    auth: auths[auth].clone(),
                    require: [&settings.require[..], &settings.matches.claims].concat(),
                }),
                limits: limits(settings, &limiters, fleet.as_ref()),
                ..self.route(settings, &config, &pools, &zones, &images)
            })
        };
        let routes = config.routes.iter().zip(maintenance);
        let routes: Vec<_> = routes.map(route).collect();
        let numbered = config.routes.iter().enumerate();
        Ok(Runtime {
            router: Router::new(numbered.map(|(index, r)| (r.matches.clone(), index))),
            listeners,
            limits: config.limits.clone(),
            trusted: Networks::new(&config.trusted_proxies),
            routes,
            pools,
            zones,
            redis,
            fleet,
            limiters,
            auths,
            images,
            sources,
            encoders: self.encoders.clone(),
            access_log,
            invalidate_headers: config
                .caches
                .iter()
                .filter_map(|cache| cache.invalidate_header.clone())
                .collect(),
            bans: self.bans.clone(),
            clients: self.clients.clone(),
            admin_token,
            config,
            written,
        })
    }

    /// From here on everything that outlives a configuration is as `runtime` says.
    pub fn commit(&self, runtime: &Runtime) {
        self.registry.commit(&runtime.pools);
        self.limiters.commit(&runtime.limiters);
        self.auths.commit(&runtime.auths, &self.fetch());
        self.zones.commit(&runtime.zones);
        self.commit_redis(runtime.redis.clone());
        self.commit_fleet(runtime.fleet.clone());
        let mut images = self
            .images
            .lock()
            .expect("no code panics while it holds this lock");
        *images = runtime.images.clone();
    }

    /// Requests are answered by a new configuration now.
    pub fn in_force(&self) {
        self.metrics.config.loads.inc();
        self.metrics.config.stale.set(0);
        self.set_config_error(None);
    }

    /// Until the names of servers in force have been looked up once, and issuers asked for their
    /// keys, or `limit` has passed.
    pub async fn looked_up(&self, limit: Duration) {
        let asked = tokio::time::timeout(limit, self.auths.asked_once());
        // Who came too late is asked for again by the first request that needs it.
        let _ = tokio::join!(self.registry.looked_up(limit), asked);
    }

    /// How an issuer's keys are fetched.
    fn fetch(&self) -> Fetch {
        let client = self.client.clone();
        Arc::new(move |url| {
            let client = client.clone();
            Box::pin(async move { client.download(&url, KEY_SET, KEY_SET_PATIENCE).await })
        })
    }

    fn route(
        &self,
        settings: &RouteSettings,
        config: &Config,
        pools: &[Arc<Pool>],
        zones: &[Arc<Zone<Response>>],
        images: &Option<Arc<Images>>,
    ) -> Route {
        let cache = settings.cache.as_ref().map(|cache| {
            let zone = zones.iter().find(|z| z.name() == cache.zone);
            Arc::new(RouteCache {
                zone: zone.expect("config: a route's cache names a zone").clone(),
                keys: KeyRules::new(&cache.key),
                ttl: RouteTtl {
                    ttl: cache.ttl,
                    negative_ttl: cache.negative_ttl,
                    stale_while_revalidate: cache.stale_while_revalidate,
                    stale_if_error: cache.stale_if_error,
                },
                refresh_ahead: cache.refresh_ahead,
                x_cache: cache.x_cache,
                purge_from: match &cache.purge_from[..] {
                    [] => None,
                    from => Some(Networks::new(from)),
                },
            })
        });
        Route {
            name: settings.name.as_str().into(),
            auth: None,
            maintenance: None,
            cors: settings.cors.as_ref().map(Cors::new),
            security_headers: settings.security_headers,
            header_size: settings.header_size,
            url_length: settings.url_length,
            pool: pools[settings.upstream].clone(),
            split: settings.split.as_ref().map(|split| {
                let named = |name: &String| pools.iter().find(|pool| *pool.name == **name);
                let pool = |name| {
                    named(name)
                        .expect("config: a split names upstreams")
                        .clone()
                };
                let pools = split.sides.iter().map(|(name, _)| pool(name));
                self.registry.split(&settings.name, split, pools)
            }),
            addresses: AddressRules::new(&settings.allow, &settings.deny),
            limits: RateLimits::default(),
            strip_prefix: settings.rewrite.strip_prefix.as_deref().map(Into::into),
            request_headers: settings.request_headers.clone(),
            response_headers: settings.response_headers.clone(),
            timeout: settings.timeout,
            body_size: settings.body_size.unwrap_or(config.limits.body_size),
            cache,
            images: images.clone().filter(|_| settings.images),
            compress: settings.compress,
            priority: settings.priority,
            concurrency: settings.concurrency,
            metrics: self.metrics.route(&settings.name),
        }
    }

    /// The connection of before, unless its settings changed; none where nobody asks for it.
    fn redis_for(&self, config: &Config) -> Option<Arc<Redis>> {
        let settings = config.redis.as_ref()?;
        config.caches.iter().find(|cache| cache.redis.is_some())?;
        let known = self.redis().filter(|redis| redis.settings == *settings);
        Some(known.unwrap_or_else(|| {
            let (purges, metrics) = (self.zones.purges.clone(), self.metrics.redis.clone());
            Arc::new(Redis::new(settings.clone(), purges, metrics))
        }))
    }

    /// As `redis_for`, of the limits that a fleet shares.
    fn fleet_for(&self, config: &Config) -> Option<Arc<Fleet>> {
        let settings = config.redis.as_ref()?;
        config.rate_limits.iter().find(|limit| limit.is_shared())?;
        let known = self.fleet.lock().expect("no code panics with it").clone();
        let known = known.filter(|fleet| fleet.settings == *settings);
        Some(known.unwrap_or_else(|| {
            let metrics = self.metrics.limits_link.clone();
            Arc::new(Fleet::new(settings.clone(), metrics))
        }))
    }

    fn commit_fleet(&self, fleet: Option<Arc<Fleet>>) {
        let mut known = self.fleet.lock().expect("no code panics with it");
        let is_known = known.as_ref().map(Arc::as_ptr) == fleet.as_ref().map(Arc::as_ptr);
        if let Some(fleet) = fleet.as_ref().filter(|_| !is_known) {
            fleet.connect();
        }
        *known = fleet;
    }

    fn commit_redis(&self, redis: Option<Arc<Redis>>) {
        let mut known = self
            .redis
            .lock()
            .expect("no code panics while it holds this lock");
        let is_known = known.as_ref().map(Arc::as_ptr) == redis.as_ref().map(Arc::as_ptr);
        if let Some(redis) = redis.as_ref().filter(|_| !is_known) {
            let zones = self.zones.clone();
            redis.start(Box::new(move |change| zones.changed(&change)));
        }
        *known = redis;
    }

    /// The transformer of before, unless its settings changed.
    fn images(&self, settings: &lakh_image::ImageSettings) -> Arc<Images> {
        let known = self
            .images
            .lock()
            .expect("no code panics while it holds this lock");
        match &*known {
            Some(images) if images.settings == *settings => images.clone(),
            _ => Arc::new(Images::new(settings.clone())),
        }
    }
}

fn limits(
    settings: &RouteSettings,
    limiters: &[Arc<Limiter>],
    fleet: Option<&Arc<Fleet>>,
) -> RateLimits {
    let named = settings.rate_limits.iter().map(|i| limiters[*i].clone());
    RateLimits::new(named.collect(), fleet.cloned())
}

/// Threads that code stored bodies: half the cores, because the workers need the others.
fn coding_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
}

fn maintenance(route: &RouteSettings) -> Result<Option<Maintenance>, String> {
    let Some(settings) = &route.maintenance else {
        return Ok(None);
    };
    let read = |page: &std::path::PathBuf| {
        std::fs::read(page).map(Bytes::from).map_err(|e| {
            let (name, page) = (&route.name, page.display());
            format!("routes.{name}.maintenance.page {page} can't be read: {e}")
        })
    };
    Ok(Some(Maintenance {
        retry_after: settings.retry_after,
        allow: Networks::new(&settings.allow),
        page: settings.page.as_ref().map(read).transpose()?,
    }))
}

/// A secret in a file of its own, without the newline that editors add.
fn read_token(path: &Path) -> Result<String, String> {
    let token = std::fs::read_to_string(path)
        .map_err(|e| format!("admin.token_file {} can't be read: {e}", path.display()))?;
    match token.trim() {
        "" => Err(format!("admin.token_file {} is empty", path.display())),
        token => Ok(token.to_owned()),
    }
}

impl Route {
    /// Whether answers go to clients with what is stored of them, and nothing is changed.
    pub fn leaves_answers(&self) -> bool {
        self.response_headers.is_empty()
            && self.cors.is_none()
            && self.security_headers == SecurityHeaders::None
    }

    /// The upstream, or a side of its split.
    pub fn pool(&self, side: Option<usize>) -> &Arc<Pool> {
        match (&self.split, side) {
            (Some(split), Some(side)) => &split.sides[side].pool,
            _ => &self.pool,
        }
    }

    /// All upstreams that its requests may go to.
    pub fn pools(&self) -> impl Iterator<Item = &Arc<Pool>> {
        let sides = self.split.iter().flat_map(|split| &split.sides);
        let one = self.split.is_none().then_some(&self.pool);
        sides.map(|side| &side.pool).chain(one)
    }
}

impl Runtime {
    /// What a client did that is refused. A trusted proxy is never banned for what it passes on.
    pub fn note_offence(&self, offence: Offence, address: IpAddr, metrics: &Metrics) {
        if self.config.bans.rules.is_empty() || self.trusted.contains(address) {
            return;
        }
        let now = Instant::now();
        let ban = self.bans.offended(&self.config.bans, offence, address, now);
        if let Some(Ban {
            address,
            left,
            times,
            ..
        }) = ban
        {
            let offence = offence.label();
            metrics.banned_for(offence);
            tracing::warn!(%address, offence, seconds = left.as_secs(), times, "banned");
        }
    }

    /// Whether who sends these fields may hold the claims that a route is chosen by.
    pub fn proves(
        &self,
        route: usize,
        headers: &HeaderMap,
        claims: &[(String, String)],
        now: u64,
    ) -> bool {
        let auth = self.routes[route].auth.as_ref();
        auth.is_some_and(|auth| auth.may_hold(headers, claims, now))
    }

    /// `now`: Unix seconds.
    pub fn route(
        &self,
        asked: &crate::route::Asked<'_>,
        now: impl Fn() -> u64,
    ) -> Option<&Arc<Route>> {
        let proves = |index: &usize, claims: &[(String, String)]| {
            self.proves(*index, asked.headers, claims, now())
        };
        let index = self.router.find(asked, &proves)?;
        Some(&self.routes[*index])
    }
}
