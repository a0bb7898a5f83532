//! One configuration, ready to serve: what a request pins once and sees unchanged to its end.
//!
//! Built whole by `Foundation::build`, which changes nothing that is running; put in force by
//! `Foundation::commit`. What must survive a reload (servers and their health, limiter buckets,
//! stored objects, the image pool) lives in the `Foundation` and is found again by name.

mod acme;
mod alike;
mod by_hand;
mod images;
mod route;

pub use by_hand::ByHand;
pub use images::{Done, Images, MadeOf, SourceRoom, Ticket, Validators};
use route::Parts;
pub use route::{Maintenance, Route, RouteAuth, RouteCache};

use crate::acme::{Agent, Held};
use crate::cache::{Force, Name, Redis, Told, Zone, Zones};
use crate::compress::Encoders;
use crate::config::{Config, Written};
use crate::guard::{Auth, Auths, Ban, Bans, Fetch, Fleet, Limiter, Limiters, Networks, Offence};
use crate::listen::tls::{Listening, OwnSecrets};
use crate::listen::{Caps, Limits};
use crate::observe::{
    AccessLog, Answers, Deliver, ImageMetrics, Metrics, Recent, Reopened, Tracer, TracingSettings,
};
use crate::route::Router;
use crate::upstream::{Client, Pool, Registry, Response, UpstreamSettings};
use http::{HeaderMap, HeaderName};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// Connections to servers that are kept for reuse, in all.
const IDLE_CONNECTIONS: usize = 1024;

/// Bytes of an issuer's key set, and how long it may take to come.
const KEY_SET: usize = 1 << 20;
const KEY_SET_PATIENCE: Duration = Duration::from_secs(5);
/// How long a collector of traces may take.
const COLLECTOR_PATIENCE: Duration = Duration::from_secs(5);

/// How long clients wait for what disks hold, when an edge starts.
const DISK_OPENING: Duration = Duration::from_secs(10);

/// How long purges and objects may take to be on disk.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// What outlives every configuration.
pub struct Foundation {
    pub metrics: Arc<Metrics>,
    pub caps: Arc<Caps>,
    /// TLS handshakes that have begun and not ended.
    pub handshakes: Arc<Caps>,
    tickets: OwnSecrets,
    held: Arc<Held>,
    acme: Mutex<Option<Arc<Agent>>>,
    pub client: Client,
    pub image_metrics: ImageMetrics,
    pub encoders: Arc<Encoders>,
    pub registry: Arc<Registry>,
    limiters: Limiters,
    bans: Arc<Bans>,
    recent: Arc<Recent>,
    clients: Arc<Caps>,
    auths: Auths,
    zones: Arc<Zones<Response>>,
    redis: Mutex<Option<Arc<Redis>>>,
    fleet: Mutex<Option<Arc<Fleet>>>,
    images: Mutex<Option<Arc<Images>>>,
    reopened: Reopened,
    ready: watch::Sender<bool>,
    /// Why the last reload was refused.
    config_error: Mutex<Option<String>>,
}

type Sources = HashMap<String, Arc<Pool>>;

pub struct Runtime {
    pub config: Config,
    /// What `config` was read from.
    pub written: Written,
    pub listeners: Vec<Arc<Listening>>,
    pub limits: Limits,
    pub trusted: Networks,
    pub routes: Vec<Arc<Route>>,
    /// Answers to what has no route.
    pub unrouted: Answers,
    /// To an index in `routes`.
    router: Router<usize>,
    pub pools: Vec<Arc<Pool>>,
    pub zones: Vec<Arc<Zone<Response>>>,
    redis: Option<Arc<Redis>>,
    fleet: Option<Arc<Fleet>>,
    /// What ACME has brought.
    pub held: Arc<Held>,
    /// None where no certificate is to be ordered.
    pub acme: Option<Arc<Agent>>,
    limiters: Vec<Arc<Limiter>>,
    auths: Vec<Arc<Auth>>,
    /// None where no route makes pictures.
    pub images: Option<Arc<Images>>,
    /// Upstreams of the hosts that pictures may come from.
    pub sources: Sources,
    pub encoders: Arc<Encoders>,
    pub access_log: AccessLog,
    /// None: nothing is traced.
    pub tracer: Option<Arc<Tracer>>,
    /// Fields by which an origin purges tags.
    pub invalidate_headers: Vec<HeaderName>,
    pub bans: Arc<Bans>,
    /// What happened lately.
    pub recent: Arc<Recent>,
    /// Requests that run, by client.
    pub clients: Arc<Caps>,
    /// What `admin.token_file` holds.
    pub admin_token: Option<String>,
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
            held: Arc::new(Held::new(metrics.acme.clone())),
            acme: Mutex::new(None),
            client: Client::new(IDLE_CONNECTIONS),
            image_metrics: metrics.images.clone(),
            encoders: Arc::new(Encoders::new(coding_workers(), metrics.codings.clone())),
            registry: Registry::new(metrics.clone()),
            limiters: Limiters::default(),
            bans: Arc::default(),
            recent: Arc::default(),
            clients: Caps::new(),
            auths: Auths::default(),
            zones: Arc::default(),
            redis: Mutex::new(None),
            fleet: Mutex::new(None),
            images: Mutex::new(None),
            reopened: Reopened::default(),
            ready: watch::Sender::new(false),
            config_error: Mutex::new(None),
            metrics,
        }
    }

    /// Whether the edge takes traffic: it has started, and does not drain.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub fn set_ready(&self, ready: bool) {
        self.ready.send_replace(ready);
    }

    /// Until it takes no more.
    pub async fn drains(&self) {
        // The sender is ours, so it is there.
        let _ = self.ready.subscribe().wait_for(|ready| !ready).await;
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

    /// Has the access log's file opened anew: somebody moved it away.
    pub fn reopen_logs(&self, runtime: &Runtime) {
        self.reopened.again();
        runtime.access_log.wake();
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
        self.metrics.acme.forget();
        if let Some(acme) = &runtime.acme {
            acme.report();
        }
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
        let (pools, sources) = self.pools(&config)?;
        let limiters = self
            .limiters
            .build(&config.rate_limits, |name| self.metrics.limit(name));
        let auths = self
            .auths
            .build(&config.auths, |name| self.metrics.auth(name))?;
        let redis = self.redis_for(&config);
        let fleet = self.fleet_for(&config);
        let acme = self.acme_for(&config)?;
        let zones = self
            .zones
            .build(&config.caches, redis.as_ref(), &self.metrics);
        let makes_images = config.routes.iter().any(|route| route.images);
        let images = makes_images.then(|| self.images(&config.images));
        let access_log = AccessLog::open(&config.access_log, self.metrics.clone(), &self.reopened)
            .map_err(|e| format!("access_log.to can't be opened: {e}"))?;
        let tracer = self.tracer(&config.tracing).map(Arc::new);
        let admin_token = config.admin.token_file.as_deref();
        let admin_token = admin_token.map(read_token).transpose()?;
        let listeners = self.listeners(&config)?;
        let names: Vec<_> = config.listeners.iter().map(|l| l.name.as_str()).collect();
        let parts = Parts {
            pools: &pools,
            zones: &zones,
            limiters: &limiters,
            auths: &auths,
            fleet: fleet.as_ref(),
            images: images.as_ref(),
            routes: &config.routes,
            listeners: &names,
            body_size: config.limits.body_size,
        };
        let route = |settings| self.route(settings, &parts).map(Arc::new);
        let routes = config.routes.iter().map(route);
        let routes = routes.collect::<Result<_, _>>()?;
        let numbered = config.routes.iter().enumerate();
        let caches = config.caches.iter();
        let invalidate_headers = caches.filter_map(|cache| cache.invalidate_header.clone());
        Ok(Runtime {
            router: Router::new(numbered.map(|(index, r)| (r.matches.clone(), index))),
            listeners,
            limits: config.limits.clone(),
            trusted: Networks::new(&config.trusted_proxies),
            routes,
            unrouted: self.metrics.unrouted(&names),
            pools,
            zones,
            redis,
            fleet,
            held: self.held.clone(),
            acme,
            limiters,
            auths,
            images,
            sources,
            encoders: self.encoders.clone(),
            access_log,
            tracer,
            invalidate_headers: invalidate_headers.collect(),
            bans: self.bans.clone(),
            recent: self.recent.clone(),
            clients: self.clients.clone(),
            admin_token,
            config,
            written,
        })
    }

    /// Of all upstreams, in their order, and of hosts that pictures may come from.
    fn pools(&self, config: &Config) -> Result<(Vec<Arc<Pool>>, Sources), String> {
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
        Ok((pools, sources))
    }

    fn listeners(&self, config: &Config) -> Result<Vec<Arc<Listening>>, String> {
        let listening = |settings| {
            let metrics = |name: &str| self.metrics.tls(name);
            Listening::new(settings, &self.tickets, &self.held, metrics).map(Arc::new)
        };
        config.listeners.iter().map(listening).collect()
    }

    /// From here on everything that outlives a configuration is as `runtime` says.
    pub fn commit(&self, runtime: &Runtime) {
        self.registry.commit(&runtime.pools);
        self.limiters.commit(&runtime.limiters);
        self.auths.commit(&runtime.auths, &self.fetch());
        if let Some(tracer) = &runtime.tracer {
            tracer.start();
        }
        self.zones.commit(&runtime.zones);
        self.commit_redis(runtime.redis.clone());
        self.commit_fleet(runtime.fleet.clone());
        self.commit_acme(runtime.acme.clone());
        let mut images = self
            .images
            .lock()
            .expect("no code panics while it holds this lock");
        *images = runtime.images.clone();
    }

    /// Requests are answered by a new configuration now.
    pub fn in_force(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let (config, now) = (&self.metrics.config, now.unwrap_or_default());
        config.loaded.set(now.as_secs_f64());
        self.metrics.config.loads.inc();
        self.metrics.config.stale.set(0);
        self.set_config_error(None);
    }

    /// Until the names of servers in force have been looked up once, issuers asked for their keys, and
    /// issued certificates are in hand, or `limit` has passed; and until disks are open.
    pub async fn looked_up(&self, limit: Duration) {
        let asked = tokio::time::timeout(limit, self.auths.asked_once());
        let looked = tokio::time::timeout(limit, self.certificates_looked_for());
        // Who came too late is asked for again by the first request that needs it, and a store once a
        // second.
        let opened = self.zones.opened(DISK_OPENING);
        let _ = tokio::join!(self.registry.looked_up(limit), asked, looked, opened);
    }

    fn tracer(&self, settings: &TracingSettings) -> Option<Tracer> {
        let (url, client) = (settings.otlp.clone()?, self.client.clone());
        let deliver: Deliver = Arc::new(move |spans| {
            let (url, client) = (url.clone(), client.clone());
            let post = async move { client.post_json(&url, spans, COLLECTOR_PATIENCE).await };
            Box::pin(post)
        });
        Some(Tracer::new(settings, deliver, self.metrics.traces.clone()))
    }

    /// How an issuer's keys are fetched.
    fn fetch(&self) -> Fetch {
        let client = self.client.clone();
        Arc::new(move |url| {
            let client = client.clone();
            Box::pin(async move { client.download(&url, KEY_SET, KEY_SET_PATIENCE).await })
        })
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

/// Threads that code stored bodies: half the cores, because the workers need the others.
fn coding_workers() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2))
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

    pub fn limiters(&self) -> impl Iterator<Item = &Arc<Limiter>> {
        self.limiters.iter()
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
