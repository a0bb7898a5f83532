//! Why a request takes its route, and why the others don't get it. Whether a condition holds is the
//! router's own to say: it is asked with a route that has this condition alone.

use super::super::request::{Request, path_and_query};
use super::super::resource::unix_now;
use super::said::Other;
use crate::path;
use crate::route::{Asked, Match, Router};
use crate::runtime::Runtime;

/// Others that nearly fit, of which an operator hears at most.
const MOST: usize = 8;

/// What `matches` asks for, in words.
pub fn terms(matches: &Match) -> String {
    let mut terms = vec![format!("path {}", matches.path)];
    if !matches.hosts.is_empty() {
        terms.insert(0, format!("host {}", matches.hosts.join(" or ")));
    }
    if !matches.methods.is_empty() {
        let methods: Vec<&str> = matches.methods.iter().map(|m| m.as_str()).collect();
        terms.push(format!("method {}", methods.join(" or ")));
    }
    terms.extend(
        matches
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {value}")),
    );
    terms.extend(
        matches
            .claims
            .iter()
            .map(|(name, value)| format!("claim {name}={value}")),
    );
    terms.join(", ")
}

/// Those that fit too, and then those that lack one thing. `target`: path and query that the route
/// is chosen by.
pub fn others(
    runtime: &Runtime,
    request: &Request<'_>,
    target: &[u8],
    chosen: Option<&str>,
) -> Vec<Other> {
    let (path, _) = path_and_query(target);
    let path = path::normal(path);
    let asked = Asked {
        host: request.host,
        path: path.as_deref().unwrap_or("/"),
        method: request.method,
        headers: request.headers,
    };
    let mut others = Vec::new();
    let routes = runtime.config.routes.iter().enumerate();
    for (index, route) in routes.filter(|(_, route)| Some(&*route.name) != chosen) {
        let lacks = lacks(runtime, index, &route.matches, &asked);
        let why = match &lacks[..] {
            // It is refused before a route is looked for.
            [] if chosen.is_none() => continue,
            [] => "fits too, but is less specific, or comes later".to_owned(),
            [(_, why)] => why.clone(),
            _ => continue,
        };
        let is_near = lacks
            .iter()
            .all(|(what, _)| *what != What::Path || is_near(&route.matches.path, asked.path));
        if is_near {
            let (name, fits) = (route.name.clone(), lacks.is_empty());
            others.push((!fits, Other { name, why }));
        }
    }
    others.sort_by_key(|(lacks, _)| *lacks);
    others
        .into_iter()
        .map(|(_, other)| other)
        .take(MOST)
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Path,
    Else,
}

/// What of `matches` does not hold.
fn lacks(
    runtime: &Runtime,
    index: usize,
    matches: &Match,
    asked: &Asked<'_>,
) -> Vec<(What, String)> {
    let proves = |_: &(), claims: &[(String, String)]| {
        runtime.proves(index, asked.headers, claims, unix_now())
    };
    let holds = |part: Match| Router::new([(part, ())]).find(asked, &proves).is_some();
    let any = || Match {
        path: "/*".to_owned(),
        ..Match::default()
    };
    let mut lacks = Vec::new();
    let path = matches.path.clone();
    if !holds(Match { path, ..any() }) {
        lacks.push((What::Path, format!("is for the path {}", matches.path)));
    }
    let hosts = matches.hosts.clone();
    if !holds(Match { hosts, ..any() }) {
        let why = format!("is for the host {}", matches.hosts.join(" or "));
        lacks.push((What::Else, why));
    }
    let methods = matches.methods.clone();
    if !holds(Match { methods, ..any() }) {
        let methods: Vec<&str> = matches.methods.iter().map(|m| m.as_str()).collect();
        let why = format!("is for the method {}", methods.join(" or "));
        lacks.push((What::Else, why));
    }
    for (name, value) in &matches.headers {
        let headers = vec![(name.clone(), value.clone())];
        if !holds(Match { headers, ..any() }) {
            lacks.push((What::Else, format!("is for {name}: {value}")));
        }
    }
    let claims = matches.claims.clone();
    if !holds(Match { claims, ..any() }) {
        let why = "is for a claim that is not proven".to_owned();
        lacks.push((What::Else, why));
    }
    lacks
}

/// Most of the pattern's own text, from its beginning.
fn is_near(pattern: &str, path: &str) -> bool {
    let own = pattern.trim_end_matches(['*', '/']);
    let same = own.bytes().zip(path.bytes()).take_while(|(a, b)| a == b);
    own.len() > 1 && same.count() * 3 >= own.len() * 2
}
