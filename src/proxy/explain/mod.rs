//! What the edge would do with a request, and why: `lakh explain`.
//!
//! The request goes the way of all others, `way::find`, with a context that is only looking: nothing
//! is taken, counted or kept for it. What is told here is what was decided there. No decision is made
//! here a second time.

mod inquiry;
mod pick;
mod routes;
mod said;
mod tell;

pub use inquiry::Inquiry;
pub use said::{Explanation, What};

use super::Edge;
use super::context::Context;
use super::headers;
use super::request::Request;
use super::way;
use crate::listen::tls::{Listening, Secured};
use crate::listen::{Entry, ListenerSettings, Manner};
use crate::runtime::Runtime;
use http::Version;
use inquiry::Asked;
use said::{Fill, Spot};
use std::sync::Arc;
use tell::{outcome, tell};

/// An error says what is wrong with the inquiry.
pub async fn explain(edge: &Edge, inquiry: &Inquiry) -> Result<Explanation, String> {
    let mut asked = inquiry.read()?;
    headers::strip_proofs(&mut asked.headers);
    let mut ctx = Context::new(edge.runtime.load_full(), edge.foundation.metrics.clone());
    ctx.looking = true;
    ctx.peer = asked.from.to_canonical();
    let runtime = ctx.runtime.clone();
    let (listener, entry) = listener(&runtime, &asked);
    ctx.entry = Some(entry);
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
fn listener(runtime: &Runtime, asked: &Asked) -> (Spot, Arc<Entry>) {
    let of = |listening: &Arc<Listening>| listening.settings.clone();
    let all: Vec<ListenerSettings> = runtime.listeners.iter().map(of).collect();
    let fits = |l: &&ListenerSettings| l.tls.is_some() == asked.is_https;
    let by_port = all
        .iter()
        .filter(fits)
        .find(|l| l.address.port() == Some(asked.port));
    let found = by_port.or_else(|| all.iter().filter(|l| l.to_https.is_none()).find(fits));
    let why = match (by_port, found) {
        (Some(l), _) => l.address.to_string(),
        (None, Some(l)) => format!("{}; none has port {}", l.address, asked.port),
        (None, None) => "as if there were one that it could come by".to_owned(),
    };
    let name = found.map_or("none", |l| &l.name).to_owned();
    let manner = match (asked.is_https, found.and_then(|l| l.to_https)) {
        (true, _) => Manner::Secured(Secured {
            version: "TLSv1.3",
            cipher: "",
            is_http2: false,
            server_name: Some(asked.host.as_str().into()),
            client: None,
            http3: None,
            choice: None,
        }),
        (false, Some(port)) => Manner::ToHttps(port),
        (false, None) => Manner::Plain,
    };
    let listener = name.as_str().into();
    let entry = Arc::new(Entry { listener, manner });
    (Spot { name, why }, entry)
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
