//! What a way means, in an operator's words.

use super::super::answer::Problem;
use super::super::cached::{self, Stand, why_asked};
use super::super::coded::{self, Form};
use super::super::context::{CacheStatus, Context};
use super::super::images::Work;
use super::super::reply::Hit;
use super::super::request::Request;
use super::super::resource::{Resource, unix_now};
use super::super::way::Way;
use super::pick::upstream_of;
use super::said::{CacheSaid, Explanation, ImageSaid, Outcome, What};
use crate::cache::{Found, Key, Object, Use, Zone, usable};
use crate::upstream::Response;
use http::HeaderMap;

pub fn tell(told: &mut Explanation, way: Way, request: &Request<'_>, ctx: &mut Context) {
    match way {
        Way::Refuse(problem) => told.outcome = refusal(&problem, ctx),
        Way::Challenge(_) => told.outcome = outcome(What::Challenge, ""),
        Way::Preflight => told.outcome = outcome(What::Preflight, ""),
        Way::Options => told.outcome = outcome(What::Options, ""),
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

pub fn outcome(what: What, why: impl Into<String>) -> Outcome {
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
    let why = match work.as_it_is {
        true => "the client wants nothing changed and gets the original",
        false => "",
    };
    told.outcome = outcome(What::Render, why);
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
