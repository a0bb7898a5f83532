//! Whether an answer may be kept, and for how long: §3.

use super::date::date;
use super::directives::{CacheControl, FOREVER, seconds};
use super::freshness::Freshness;
use super::targeted::targeted;
use http::header::{
    AGE, AUTHORIZATION, CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use std::time::Duration;

/// How old heuristic freshness may let an object get, and its share of the time since the object
/// last changed, §4.2.2.
const HEURISTIC_MAX: u64 = 86_400;
const HEURISTIC_SHARE: u64 = 10;

/// What a route sets beside what the origin says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RouteTtl {
    /// Used where the origin gives no freshness.
    pub ttl: Option<Duration>,
    /// The same for refusals.
    pub negative_ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

/// The request's side of a decision.
pub struct Asked<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
    /// Proves who asks, if only in a cookie or a field of its own: counts as Authorization.
    pub authorized: bool,
}

impl Asked<'_> {
    pub fn is_proven(&self) -> bool {
        self.authorized || self.headers.contains_key(AUTHORIZATION)
    }
}

/// Whose requests are passed on, because what they ask for can't be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    All,
    /// All, unless what is stored can still be used: what says so may be about one client alone.
    Unstored,
    /// Of those who prove who they are; what others get may be stored.
    Proven,
}

/// Why an answer is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NoStore,
    /// The request said so.
    AskedNoStore,
    Private,
    SetCookie,
    Authorization,
    Status,
    VaryStar,
    /// By what the edge adds to requests.
    VaryClaim,
    NoFreshness,
}

impl Refused {
    /// For Cache-Status's `detail`.
    pub fn label(self) -> &'static str {
        match self {
            Refused::NoStore | Refused::AskedNoStore => "no-store",
            Refused::Private => "private",
            Refused::SetCookie => "set-cookie",
            Refused::Authorization => "authorization",
            Refused::Status => "status",
            Refused::VaryStar => "vary-star",
            Refused::VaryClaim => "vary-claim",
            Refused::NoFreshness => "no-freshness",
        }
    }

    /// Whose requests for the same had better not wait for each other for a while. None: this says
    /// nothing about others. A failure is about this moment, not about what the URL names.
    pub fn passes(self, status: StatusCode) -> Option<Passing> {
        match self {
            Refused::AskedNoStore => None,
            Refused::Status if status.is_server_error() => None,
            // About when this one was asked: RFC 8470 §5.2.
            Refused::Status if status == StatusCode::TOO_EARLY => None,
            Refused::SetCookie | Refused::Status => Some(Passing::Unstored),
            Refused::Authorization => Some(Passing::Proven),
            _ => Some(Passing::All),
        }
    }

    /// Whether it may say nothing about what others get.
    pub fn is_about_one(self) -> bool {
        matches!(self, Refused::SetCookie | Refused::Status)
    }
}

/// Whether, and for how long, a whole answer to a GET may be kept, §3. `asked_at` is when the
/// request was sent, `now` when the answer's head had come.
pub fn storable(
    asked: &Asked<'_>,
    status: StatusCode,
    answer: &HeaderMap,
    route: &RouteTtl,
    asked_at: u64,
    now: u64,
) -> Result<Freshness, Refused> {
    let targeted = targeted(answer);
    let control = targeted.unwrap_or_else(|| CacheControl::parse(answer));
    if control.must_understand && !understood(status) {
        return Err(Refused::Status);
    }
    if control.no_store && !control.must_understand {
        return Err(Refused::NoStore);
    }
    if CacheControl::parse(asked.headers).no_store {
        return Err(Refused::AskedNoStore);
    }
    if control.private {
        return Err(Refused::Private);
    }
    if asked.is_proven()
        && !(control.public || control.must_revalidate || control.s_maxage.is_some())
    {
        return Err(Refused::Authorization);
    }
    // A cookie set for one must not reach another; whoever means it says `public`.
    if answer.contains_key(SET_COOKIE) && !control.public {
        return Err(Refused::SetCookie);
    }
    if vary_names(answer).is_none() {
        return Err(Refused::VaryStar);
    }
    let expires = match targeted {
        Some(_) => None,
        None => expires(answer, now),
    };
    let said = control.s_maxage.or(control.max_age).or(expires);
    let lifetime = match said {
        // Parts of other exchanges, §3.3 and §4.3.
        _ if matches!(status.as_u16(), 206 | 304) => return Err(Refused::Status),
        Some(said) => said,
        None => unsaid_lifetime(status, answer, &control, route, now)?,
    };
    Ok(Freshness {
        stored_at: now,
        initial_age: initial_age(answer, asked_at, now),
        lifetime,
        stale_while_revalidate: stale_while_revalidate(&control, route),
        stale_if_error: stale_if_error(&control, route),
        always_revalidate: control.no_cache,
    })
}

/// Where the origin says nothing: the route's ttl, then the heuristic of §4.2.2.
fn unsaid_lifetime(
    status: StatusCode,
    answer: &HeaderMap,
    control: &CacheControl,
    route: &RouteTtl,
    now: u64,
) -> Result<u64, Refused> {
    if !heuristic_status(status) && !control.public {
        return Err(Refused::Status);
    }
    if is_event_stream(answer) {
        // What has happened is no answer to whoever asks later, and mostly one client's own.
        return Err(Refused::NoFreshness);
    }
    let set = match status {
        StatusCode::OK => route.ttl,
        status if is_refusal(status) => route.negative_ttl,
        _ => None,
    };
    if let Some(ttl) = set {
        return Ok(ttl.as_secs());
    }
    let heuristic = answer.get(LAST_MODIFIED).and_then(date).map(|changed| {
        let date = answer.get(DATE).and_then(date).unwrap_or(now);
        (date.saturating_sub(changed) / HEURISTIC_SHARE).min(HEURISTIC_MAX)
    });
    match heuristic {
        Some(lifetime) => Ok(lifetime),
        // Only useful with a validator: then asking again may be cheap.
        None if control.no_cache && answer.contains_key(ETAG) => Ok(0),
        None => Err(Refused::NoFreshness),
    }
}

fn is_event_stream(answer: &HeaderMap) -> bool {
    let media = answer.get(CONTENT_TYPE).map(|v| v.as_bytes());
    let media = media.and_then(|whole| whole.split(|b| *b == b';').next());
    media.is_some_and(|media| {
        media
            .trim_ascii()
            .eq_ignore_ascii_case(b"text/event-stream")
    })
}

/// Statuses whose meaning for caching this cache knows: `must-understand`, §5.2.2.3.
fn understood(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 302 | 303 | 307 | 308 | 404 | 405 | 410 | 414 | 451 | 501
    )
}

/// RFC 9110 §15.1: what may be kept without the origin saying so.
fn heuristic_status(status: StatusCode) -> bool {
    matches!(
        status.as_u16(),
        200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501
    )
}

/// Of those, the ones that say no.
fn is_refusal(status: StatusCode) -> bool {
    heuristic_status(status) && (status.is_client_error() || status.is_server_error())
}

/// §5.3. An invalid date, above all "0", is in the past.
fn expires(answer: &HeaderMap, now: u64) -> Option<u64> {
    let expires = date(answer.get(EXPIRES)?).unwrap_or(0);
    let from = answer.get(DATE).and_then(date).unwrap_or(now);
    Some(expires.saturating_sub(from).min(FOREVER))
}

/// §4.2.3: the larger of what the clocks and what the Age field say, the transfer's time included.
fn initial_age(answer: &HeaderMap, asked_at: u64, now: u64) -> u64 {
    let apparent = answer
        .get(DATE)
        .and_then(date)
        .map_or(0, |date| now.saturating_sub(date));
    // §5.1: of several values the first counts, and one that is no number is ignored.
    let first = answer.get(AGE).map(|v| v.as_bytes());
    let first = first.and_then(|line| line.split(|b| *b == b',').next());
    let age = first.and_then(|v| seconds(v.trim_ascii())).unwrap_or(0);
    apparent.max(age + now.saturating_sub(asked_at))
}

/// RFC 5861 §3.
fn stale_while_revalidate(control: &CacheControl, route: &RouteTtl) -> u64 {
    let own = control.stale_while_revalidate;
    usable_stale(control, own, route.stale_while_revalidate)
}

/// RFC 5861 §4.
fn stale_if_error(control: &CacheControl, route: &RouteTtl) -> u64 {
    usable_stale(control, control.stale_if_error, route.stale_if_error)
}

/// §4.2.4: the origin's own word, or the route's in its place. `must-revalidate` forbids both.
/// `s-maxage` implies as much (§5.2.2.10), so there the route's does not count; an origin that
/// allows it beside an `s-maxage` means it.
fn usable_stale(control: &CacheControl, own: Option<u64>, set: Option<Duration>) -> u64 {
    match set {
        _ if control.must_revalidate || control.no_cache => 0,
        Some(set) if control.s_maxage.is_none() => set.as_secs(),
        _ => own.unwrap_or(0),
    }
}

/// The request fields that an answer was chosen by, in order and without repeats; None for
/// `Vary: *`, which no request ever matches (§4.1).
pub fn vary_names(answer: &HeaderMap) -> Option<Vec<HeaderName>> {
    let mut names = Vec::new();
    for line in answer.get_all(VARY) {
        for name in line
            .as_bytes()
            .split(|b| *b == b',')
            .map(<[u8]>::trim_ascii)
        {
            if name.is_empty() {
                continue;
            }
            // `*` is a token but no field name, and neither is anything else that fails here.
            if name == b"*" {
                return None;
            }
            names.push(HeaderName::from_bytes(name).ok()?);
        }
    }
    names.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    names.dedup();
    Some(names)
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{store, store_with};
    use super::*;

    #[test]
    fn freshness_is_found_in_the_order_of_the_rfc() {
        let life = |answer: &[(&'static str, &str)]| store(&[], answer).map(|f| f.lifetime);
        assert_eq!(
            life(&[("cache-control", "max-age=10, s-maxage=20")]),
            Ok(20)
        );
        assert_eq!(
            life(&[("cache-control", "max-age=10"), ("expires", "0")]),
            Ok(10)
        );
        assert_eq!(
            life(&[
                ("date", "Thu, 01 Jan 1970 00:16:00 GMT"),
                ("expires", "Thu, 01 Jan 1970 00:17:00 GMT")
            ]),
            Ok(60)
        );
        assert_eq!(life(&[("expires", "0")]), Ok(0));
        assert_eq!(life(&[("cache-control", "max-age=\"7\"")]), Ok(7));
        assert_eq!(life(&[("cache-control", "max-age=x")]), Ok(0));
        assert_eq!(
            life(&[("cache-control", "max-age=99999999999999999999")]),
            Ok(FOREVER)
        );
        assert_eq!(
            life(&[
                ("date", "Thu, 01 Jan 1970 00:16:40 GMT"),
                ("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")
            ]),
            Ok(100)
        );
        assert_eq!(life(&[]), Err(Refused::NoFreshness));
    }

    #[test]
    fn the_routes_ttl_is_for_answers_that_say_nothing() {
        let route = RouteTtl {
            ttl: Some(Duration::from_secs(5)),
            ..RouteTtl::default()
        };
        let life = |status, answer: &[(&'static str, &str)]| {
            store_with(status, &[], answer, route).map(|f| f.lifetime)
        };
        assert_eq!(life(200, &[]), Ok(5));
        assert_eq!(life(200, &[("cache-control", "max-age=1")]), Ok(1));
        assert_eq!(
            life(200, &[("cache-control", "no-store")]),
            Err(Refused::NoStore)
        );
        let events = ("content-type", "Text/Event-Stream;charset=utf-8");
        assert_eq!(life(200, &[events]), Err(Refused::NoFreshness));
        assert_eq!(life(200, &[events, ("cache-control", "max-age=1")]), Ok(1));
        assert_eq!(life(500, &[]), Err(Refused::Status));
        assert_eq!(
            life(404, &[]),
            Err(Refused::NoFreshness),
            "a failure needs the origin's word"
        );
    }

    #[test]
    fn refusals_have_a_ttl_of_their_own() {
        let route = RouteTtl {
            ttl: Some(Duration::from_secs(500)),
            negative_ttl: Some(Duration::from_secs(5)),
            ..RouteTtl::default()
        };
        let life = |status, answer: &[(&'static str, &str)]| {
            store_with(status, &[], answer, route).map(|f| f.lifetime)
        };
        for status in [404, 405, 410, 414, 501] {
            assert_eq!(life(status, &[]), Ok(5), "{status}");
            let said = [("cache-control", "max-age=1")];
            assert_eq!(life(status, &said), Ok(1), "{status}: the origin's word");
            let said = [("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")];
            assert_eq!(life(status, &said), Ok(5), "{status}: before the heuristic");
        }
        for status in [400, 401, 403, 429, 500, 502, 503, 504] {
            assert_eq!(life(status, &[]), Err(Refused::Status), "{status}");
        }
        assert_eq!(life(200, &[]), Ok(500));
    }

    #[test]
    fn what_is_one_persons_is_not_stored() {
        assert_eq!(
            store(&[], &[("cache-control", "private, max-age=9")]),
            Err(Refused::Private)
        );
        assert_eq!(
            store(&[("authorization", "x")], &[("cache-control", "max-age=9")]),
            Err(Refused::Authorization)
        );
        assert!(
            store(
                &[("authorization", "x")],
                &[("cache-control", "public, max-age=9")]
            )
            .is_ok()
        );
        assert_eq!(
            store(
                &[],
                &[("cache-control", "max-age=9"), ("set-cookie", "a=b")]
            ),
            Err(Refused::SetCookie)
        );
        assert_eq!(
            store(
                &[],
                &[("cache-control", "max-age=9"), ("vary", "accept, *")]
            ),
            Err(Refused::VaryStar)
        );
    }

    #[test]
    fn statuses_are_stored_on_the_origins_word() {
        let with = |status| {
            store_with(
                status,
                &[],
                &[("cache-control", "max-age=9")],
                RouteTtl::default(),
            )
        };
        for status in [200, 203, 299, 301, 302, 404, 410, 500, 503, 599] {
            assert!(with(status).is_ok(), "{status}");
        }
        for status in [206, 304] {
            assert_eq!(with(status), Err(Refused::Status), "{status}");
        }
        let understand = [("cache-control", "max-age=9, no-store, must-understand")];
        let with = |status| store_with(status, &[], &understand, RouteTtl::default());
        assert!(with(200).is_ok());
        assert_eq!(with(299), Err(Refused::Status));
    }

    #[test]
    fn a_route_does_not_outweigh_s_maxage_but_the_origin_does() {
        let route = RouteTtl {
            stale_while_revalidate: Some(Duration::from_secs(7)),
            stale_if_error: Some(Duration::from_secs(9)),
            ..RouteTtl::default()
        };
        let stale = |control: &str| {
            let kept = store_with(200, &[], &[("cache-control", control)], route).expect("stored");
            (kept.stale_while_revalidate, kept.stale_if_error)
        };
        assert_eq!(stale("max-age=1"), (7, 9));
        assert_eq!(stale("max-age=1, stale-if-error=2"), (7, 9));
        assert_eq!(stale("s-maxage=1"), (0, 0));
        assert_eq!(stale("s-maxage=1, stale-if-error=2"), (0, 2));
        assert_eq!(stale("max-age=1, must-revalidate"), (0, 0));
    }

    #[test]
    fn an_age_from_upstream_counts() {
        let stored = store(&[], &[("cache-control", "max-age=10"), ("age", "4")]).expect("stored");
        assert_eq!(stored.age(1003), 7);
        assert_eq!(stored.ttl(1003), 3);
        assert_eq!(stored.ttl(1011), -5);
    }
}
