//! What the edge would do with a request, and why: `lakh explain`.
//!
//! The request goes the way of all others, `way::find`, with a context that is only looking: nothing
//! is taken, counted or kept for it. What is told here is what was decided there. No decision is made
//! here a second time.

mod inquiry;
mod routes;
mod said;

pub use inquiry::Inquiry;
pub use said::{Explanation, What};

use super::Edge;
use super::answer::Problem;
use super::balance;
use super::cached::{self, Stand, why_asked};
use super::coded::{self, Form};
use super::context::{CacheStatus, Context};
use super::headers;
use super::images::Work;
use super::reply::Hit;
use super::request::Request;
use super::resource::{Resource, unix_now};
use super::way::{self, Way};
use crate::cache::{Found, Key, Object, Use, Zone, usable};
use crate::listen::tls::{Listening, Secured};
use crate::listen::{Entry, ListenerSettings};
use crate::runtime::Runtime;
use crate::upstream::{self, Pool, Response, Tried};
use http::{HeaderMap, Version};
use inquiry::Asked;
use said::{CacheSaid, Fill, ImageSaid, Outcome, ServerSaid, Spot, UpstreamSaid};
use std::sync::Arc;

/// Servers that are told of one by one.
const SERVERS: usize = 16;

/// An error says what is wrong with the inquiry.
pub async fn explain(edge: &Edge, inquiry: &Inquiry) -> Result<Explanation, String> {
    let mut asked = inquiry.read()?;
    headers::strip_proofs(&mut asked.headers);
    let mut ctx = Context::new(edge.runtime.load_full(), edge.foundation.metrics.clone());
    ctx.looking = true;
    ctx.peer = asked.from.to_canonical();
    let runtime = ctx.runtime.clone();
    let (listener, entry) = listener(&runtime, &asked);
    ctx.entry = entry;
    let request = Request {
        method: &asked.method,
        version: Version::HTTP_11,
        target: &asked.target,
        host: &asked.host,
        headers: &asked.headers,
    };
    way::identify(&request, &mut ctx);
    let way = way::find(&request, &mut ctx);
    let way = way::decided(way, &request, &mut ctx).await;
    let mut explanation = Explanation {
        listener,
        client: client(&ctx),
        route: route(&ctx),
        others: others(&request, &ctx),
        limits: limits(&ctx),
        outcome: outcome(What::Pass, ""),
        cache: None,
        image: None,
        upstream: None,
    };
    tell(&mut explanation, way, &request, &mut ctx);
    Ok(explanation)
}

/// The one with that port, else the first that is spoken to in the same way.
fn listener(runtime: &Runtime, asked: &Asked) -> (Spot, Option<Arc<Entry>>) {
    let of = |listening: &Arc<Listening>| listening.settings.clone();
    let all: Vec<ListenerSettings> = runtime.listeners.iter().map(of).collect();
    let fits = |l: &&ListenerSettings| l.tls.is_some() == asked.is_https;
    let by_port = all
        .iter()
        .filter(fits)
        .find(|l| l.address.port() == asked.port);
    let found = by_port.or_else(|| all.iter().filter(|l| l.to_https.is_none()).find(fits));
    let why = match (by_port, found) {
        (Some(l), _) => l.address.to_string(),
        (None, Some(l)) => format!("{}; none has port {}", l.address, asked.port),
        (None, None) => "as if there were one that it could come by".to_owned(),
    };
    let name = found.map_or("none", |l| &l.name).to_owned();
    let entry = match (asked.is_https, found.and_then(|l| l.to_https)) {
        (true, _) => Some(Entry::Secured(Secured {
            version: "TLSv1.3",
            cipher: "",
            server_name: Some(asked.host.as_str().into()),
            client: None,
        })),
        (false, Some(port)) => Some(Entry::ToHttps(port)),
        (false, None) => None,
    };
    (Spot { name, why }, entry.map(Arc::new))
}

fn client(ctx: &Context) -> Spot {
    let why = match (ctx.peer_is_trusted, ctx.client == ctx.peer) {
        (_, true) => String::new(),
        (_, false) => format!("as {} says, a trusted proxy", ctx.peer),
    };
    let name = ctx.client.to_string();
    Spot { name, why }
}

fn route(ctx: &Context) -> Option<Spot> {
    let route = ctx.route.as_ref()?;
    let mut all = ctx.runtime.config.routes.iter();
    let settings = all.find(|settings| *settings.name == *route.name)?;
    Some(Spot {
        name: route.name.to_string(),
        why: routes::terms(&settings.matches),
    })
}

fn others(request: &Request<'_>, ctx: &Context) -> Vec<said::Other> {
    let target = ctx.target.as_deref().unwrap_or(request.target);
    let chosen = ctx.route.as_ref().map(|route| &*route.name);
    routes::others(&ctx.runtime, request, target, chosen)
}

fn limits(ctx: &Context) -> Vec<Fill> {
    let Some(route) = &ctx.route else {
        return Vec::new();
    };
    let fill = |standing: &crate::guard::Standing| {
        let settings = route.limits.settings(standing.limit.into());
        let tier = settings.tiers.get(standing.tier as usize);
        Fill {
            name: settings.name.clone(),
            remaining: standing.remaining,
            burst: tier.map_or(settings.quota, |tier| tier.quota).burst,
            more_in: standing.more_in,
            refuses: standing.refuses,
            dry_run: settings.dry_run,
        }
    };
    ctx.standings.iter().map(fill).collect()
}

fn tell(told: &mut Explanation, way: Way, request: &Request<'_>, ctx: &mut Context) {
    match way {
        Way::Refuse(problem) => told.outcome = refusal(&problem, ctx),
        Way::Preflight => told.outcome = outcome(What::Preflight, ""),
        Way::Purge(_) => told.outcome = outcome(What::Purge, ""),
        Way::Hit(hit) | Way::Code(_, hit) => tell_hit(told, &hit, request, ctx),
        Way::Fill(resource) => tell_fill(told, &resource, request, ctx),
        Way::Render(work) => tell_render(told, &work, request, ctx),
        Way::Pass => {
            let why = match ctx.cache {
                None => "the route has no cache".to_owned(),
                Some(status) => status.to_value(),
            };
            tell_pass(told, why, request, ctx);
        }
        Way::Ask(_) => unreachable!("it was decided"),
    }
}

fn outcome(what: What, why: impl Into<String>) -> Outcome {
    Outcome {
        what,
        status: None,
        problem: None,
        why: why.into(),
    }
}

fn refusal(problem: &Problem, ctx: &Context) -> Outcome {
    let why = match (problem, ctx.limit(false)) {
        (Problem::RateLimited { .. }, Some(limit)) => format!("rate_limits.{limit}"),
        (Problem::Banned { left }, _) => format!("for another {}s", left.as_secs()),
        (Problem::AddressRefused, _) => format!("allow and deny of the route: {}", ctx.client),
        (problem, _) => problem.detail(),
    };
    Outcome {
        status: Some(problem.status().as_u16()),
        problem: Some(problem.slug().to_owned()),
        ..outcome(What::Refused, why)
    }
}

/// `hit` may be a rendition, whose key is in the image's part.
fn tell_hit(told: &mut Explanation, hit: &Hit, request: &Request<'_>, ctx: &mut Context) {
    told.outcome = outcome(What::Hit, "");
    let Some(resource) = Resource::of(request, ctx) else {
        return;
    };
    let images = resource.route.images.clone();
    let work = images.and_then(|images| Work::of(request, &images, &resource, ctx).ok()?);
    let key = work.as_ref().map_or(&resource.key, |work| &work.goal.key);
    told.cache = Some(stored(&hit.zone, key, "hit", &hit.object, hit.now));
    told.image = work.map(|work| image(&work, "hit"));
}

fn tell_fill(told: &mut Explanation, resource: &Resource, request: &Request<'_>, ctx: &Context) {
    let (zone, now) = (resource.zone(), unix_now());
    let stand = cached::stand(resource, request.headers, ctx, now);
    let mut tell = |what, cache: CacheSaid, why: &str| {
        told.outcome = outcome(what, why);
        told.cache = Some(cache);
        told.upstream = Some(upstream_of(resource.pool(ctx), request, ctx));
    };
    match stand {
        Stand::Fresh { key, object } | Stand::Stale { key, object }
            if matches!(coded::form(request, ctx, &object), Form::Refused) =>
        {
            let cache = stored(zone, &key, "pass", &object, now);
            tell(
                What::Pass,
                cache,
                "it is stored in a coding that the client does not accept",
            );
        }
        Stand::Fresh { key, object } => {
            let cache = stored(zone, &key, "hit", &object, now);
            tell(
                What::Hit,
                cache,
                "it is asked for so often that it is fetched anew already",
            );
        }
        Stand::Stale { key, object } => {
            tell(What::Stale, stored(zone, &key, "stale", &object, now), "");
        }
        Stand::Pass(why) => tell(What::Pass, missing(zone, &resource.key, "pass", why), why),
        Stand::Missing(want) if want.only_if_cached => {
            told.cache = Some(missing(zone, &want.key, "miss", ""));
            told.outcome = refusal(&Problem::OnlyIfCached, ctx);
        }
        Stand::Missing(want) if want.is_part => {
            let cache = missing(zone, &want.key, "pass", "range");
            tell(What::Pass, cache, "only a part is asked for");
        }
        Stand::Missing(want) => match &want.stale {
            None => tell(
                What::Miss,
                missing(zone, &want.key, "miss", "it is not there"),
                "",
            ),
            Some((object, _)) => {
                let mut cache = stored(zone, &want.key, "miss", object, now);
                cache.why = why_asked(object, now).to_owned();
                tell(What::Miss, cache, "what is stored is asked about");
            }
        },
    }
}

fn tell_render(told: &mut Explanation, work: &Work, request: &Request<'_>, ctx: &Context) {
    let (zone, now) = (work.source.zone(), unix_now());
    let found = ctx.find(zone, work.goal.key.clone(), &HeaderMap::new(), now);
    if let Found::Object { key, object } = found
        && usable(&object.freshness, request.headers, now) == Use::StaleWhileRevalidate
    {
        told.outcome = outcome(What::Stale, "");
        told.cache = Some(stored(zone, &key, "stale", &object, now));
        told.image = Some(image(work, "stale"));
        return;
    }
    let source = match cached::stand(&work.source, request.headers, ctx, now) {
        Stand::Fresh { .. } => "hit",
        Stand::Stale { .. } => "stale",
        Stand::Pass(_) => "pass",
        Stand::Missing(_) => "miss",
    };
    told.outcome = outcome(What::Render, "");
    told.cache = Some(missing(
        zone,
        &work.goal.key,
        "miss",
        "it has yet to be made",
    ));
    let mut image = image(work, "miss");
    image.source = Some(source.to_owned());
    told.image = Some(image);
    if source != "hit" {
        told.upstream = Some(upstream_of(work.source.pool(ctx), request, ctx));
    }
}

fn tell_pass(told: &mut Explanation, why: String, request: &Request<'_>, ctx: &Context) {
    if let Some(cache) = &ctx.routed().cache {
        let why = match ctx.cache {
            Some(CacheStatus::Forwarded { why, .. }) => why,
            _ => "",
        };
        told.cache = Some(CacheSaid {
            zone: cache.zone.name().to_owned(),
            key: String::from_utf8_lossy(request.target).into_owned(),
            state: "pass".to_owned(),
            why: why.to_owned(),
            ttl: None,
            age: None,
        });
    }
    told.outcome = outcome(What::Pass, why);
    told.upstream = Some(upstream_of(ctx.pool(), request, ctx));
}

fn stored(zone: &Zone<Response>, key: &Key, state: &str, object: &Object, now: u64) -> CacheSaid {
    CacheSaid {
        ttl: Some(object.freshness.ttl(now)),
        age: Some(object.freshness.age(now)),
        ..missing(zone, key, state, "")
    }
}

fn missing(zone: &Zone<Response>, key: &Key, state: &str, why: &str) -> CacheSaid {
    let key = key.parts().map_or(String::new(), |parts| {
        let query = parts
            .query
            .map_or(String::new(), |query| format!("?{query}"));
        let scheme = match &*parts.scheme {
            "" => String::new(),
            scheme => format!("{scheme}:"),
        };
        format!(
            "{}:{scheme}//{}{}{query}",
            parts.upstream, parts.host, parts.path
        )
    });
    CacheSaid {
        zone: zone.name().to_owned(),
        key,
        state: state.to_owned(),
        why: why.to_owned(),
        ttl: None,
        age: None,
    }
}

fn image(work: &Work, state: &str) -> ImageSaid {
    ImageSaid {
        plan: work.images.settings.key(&work.goal.plan),
        state: state.to_owned(),
        source: None,
    }
}

fn upstream_of(pool: &Arc<Pool>, request: &Request<'_>, ctx: &Context) -> UpstreamSaid {
    let now = upstream::Time::now();
    let preferred = balance::preferred(request.headers, pool);
    let target = ctx.target.as_deref().unwrap_or(request.target);
    let picked = pool.would_pick(&upstream::Asked {
        tried: &Tried::default(),
        preferred,
        key: balance::key(request.headers, target, ctx),
        now,
    });
    let why = match &picked {
        None => "none can be asked: 503".to_owned(),
        Some(server) if Some(server.id) == preferred => "its sticky cookie says so".to_owned(),
        Some(_) => format!("by {}", pool.balance()),
    };
    let (tier, servers) = pool.standing(now);
    let servers = servers.iter().take(SERVERS).map(|(server, ..)| {
        let shown = server.shown(now);
        ServerSaid {
            address: server.address.to_string(),
            state: shown.state.label().to_owned(),
            in_flight: shown.active,
            why: shown.why,
        }
    });
    let gate = &pool.group.gate;
    UpstreamSaid {
        name: pool.name.to_string(),
        server: picked.map(|server| server.address.to_string()),
        why: match tier {
            upstream::Tier::Primary => why,
            upstream::Tier::Backup => format!("{why}; backups are in use"),
            upstream::Tier::Panic => format!("{why}; all are in use, because too few are well"),
        },
        running: gate.running(),
        waiting: gate.waiting(),
        concurrency: Some(gate.size()).filter(|size| *size > 0),
        servers: servers.collect(),
    }
}
