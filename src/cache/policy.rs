//! What a shared cache may keep, and when it may use what it kept. Pure: times are arguments,
//! as whole seconds of Unix time. Sections without a document are of RFC 9111.

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    LAST_MODIFIED, PRAGMA, SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use std::time::{Duration, SystemTime};

/// The longest that any freshness counts, §1.2.2: a delta-seconds that overflows means "forever".
const FOREVER: u64 = 1 << 31;

/// How old heuristic freshness may let an object get, and its share of the time since the object
/// last changed, §4.2.2.
const HEURISTIC_MAX: u64 = 86_400;
const HEURISTIC_SHARE: u64 = 10;

/// The directives of Cache-Control that this cache heeds, §5.2. Unknown ones are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    pub no_store: bool,
    /// With field names (`no-cache="x"`) it is treated as without: stricter, and allowed (§5.2.2.4).
    pub no_cache: bool,
    pub private: bool,
    pub public: bool,
    pub must_revalidate: bool,
    /// A status that this cache understands may be stored in spite of `no-store`, §5.2.2.3.
    pub must_understand: bool,
    pub only_if_cached: bool,
    pub max_age: Option<u64>,
    pub s_maxage: Option<u64>,
    pub min_fresh: Option<u64>,
    /// `max-stale` without a value is any staleness.
    pub max_stale: Option<u64>,
    pub stale_while_revalidate: Option<u64>,
    pub stale_if_error: Option<u64>,
}

impl CacheControl {
    pub fn parse(headers: &HeaderMap) -> CacheControl {
        let mut found = CacheControl::default();
        for line in headers.get_all(CACHE_CONTROL) {
            for directive in Directives::new(line.as_bytes()) {
                found.add(directive);
            }
        }
        found
    }

    fn add(&mut self, (name, value): (&[u8], Option<&[u8]>)) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("no-store") {
            self.no_store = true;
        } else if is("no-cache") {
            self.no_cache = true;
        } else if is("private") {
            self.private = true;
        } else if is("public") {
            self.public = true;
        } else if is("must-revalidate") || is("proxy-revalidate") {
            self.must_revalidate = true;
        } else if is("must-understand") {
            self.must_understand = true;
        } else if is("only-if-cached") {
            self.only_if_cached = true;
        } else if is("max-age") {
            keep_first(&mut self.max_age, value);
        } else if is("s-maxage") {
            keep_first(&mut self.s_maxage, value);
        } else if is("min-fresh") {
            keep_first(&mut self.min_fresh, value);
        } else if is("max-stale") {
            self.max_stale = Some(value.map_or(FOREVER, |v| seconds(v).unwrap_or(0)));
        } else if is("stale-while-revalidate") {
            keep_first(&mut self.stale_while_revalidate, value);
        } else if is("stale-if-error") {
            keep_first(&mut self.stale_if_error, value);
        }
    }
}

/// Fields that speak to caches like this one, in place of Cache-Control and Expires.
const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");

/// RFC 9213 §2.2: a structured field, of which nothing counts if any of it is wrong.
fn cdn_cache_control(answer: &HeaderMap) -> Option<CacheControl> {
    let mut lines = answer.get_all(CDN_CACHE_CONTROL).iter();
    let mut whole = lines.next()?.as_bytes().to_vec();
    for line in lines {
        whole.extend([b", ", line.as_bytes()].concat());
    }
    let members = sfv::Parser::parse_dictionary(&whole).ok()?;
    let mut found = CacheControl::default();
    for (name, member) in &members {
        let sfv::ListEntry::Item(item) = member else {
            continue;
        };
        match &item.bare_item {
            sfv::BareItem::Boolean(false) => {}
            sfv::BareItem::Integer(n) => {
                found.add((name.as_bytes(), Some(n.to_string().as_bytes())));
            }
            _ if counts_seconds(name) => return None,
            _ => found.add((name.as_bytes(), None)),
        }
    }
    (!members.is_empty()).then_some(found)
}

fn counts_seconds(directive: &str) -> bool {
    [
        "max-age",
        "s-maxage",
        "stale-while-revalidate",
        "stale-if-error",
    ]
    .contains(&directive)
}

/// Edge Architecture Specification §2: `max-age=600+30;target`. What names a target is another's,
/// and what follows `+` is how much longer the answer may be used while a new one is fetched.
fn surrogate_control(answer: &HeaderMap) -> Option<CacheControl> {
    let mut found = None::<CacheControl>;
    for line in answer.get_all(SURROGATE_CONTROL) {
        for (name, value) in Directives::new(line.as_bytes()) {
            let mut parts = value.unwrap_or(name).splitn(2, |b| *b == b';');
            let (value, target) = (value.and(parts.next()), parts.next());
            if target.is_some_and(|t| !t.trim_ascii().eq_ignore_ascii_case(b"lakh")) {
                continue;
            }
            let found = found.get_or_insert_default();
            let mut ages = value.unwrap_or_default().splitn(2, |b| *b == b'+');
            found.add((name, value.and(ages.next())));
            if let Some(more) = ages.next() {
                found.add((b"stale-while-revalidate", Some(more)));
            }
        }
    }
    found
}

/// The first of repeated directives counts, and one without a valid number is stale at once (§4.2.1).
fn keep_first(slot: &mut Option<u64>, value: Option<&[u8]>) {
    slot.get_or_insert(value.and_then(seconds).unwrap_or(0));
}

/// delta-seconds, §1.2.2.
fn seconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    Some(text.parse().unwrap_or(FOREVER).min(FOREVER))
}

/// `name`, `name=token` and `name="quoted"`, split by commas outside quotes.
struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Directives<'a> {
    fn new(line: &'a [u8]) -> Directives<'a> {
        Directives { rest: line }
    }
}

impl<'a> Iterator for Directives<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            let end = end_of_directive(self.rest);
            let part = self.rest[..end].trim_ascii();
            self.rest = self.rest.get(end + 1..).unwrap_or_default();
            if part.is_empty() {
                continue;
            }
            let Some(equals) = part.iter().position(|b| *b == b'=') else {
                return Some((part, None));
            };
            let value = part[equals + 1..].trim_ascii();
            let value = value.strip_prefix(b"\"").unwrap_or(value);
            let value = value.strip_suffix(b"\"").unwrap_or(value);
            return Some((part[..equals].trim_ascii(), Some(value)));
        }
        None
    }
}

/// The members of a list, without white space; commas in quotes are theirs.
pub(super) fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let end = end_of_directive(line);
        rest = line.get(end + 1..);
        Some(line[..end].trim_ascii())
    })
}

fn end_of_directive(line: &[u8]) -> usize {
    let (mut quoted, mut escaped) = (false, false);
    for (i, b) in line.iter().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b',' if !quoted => return i,
            _ => {}
        }
    }
    line.len()
}

/// What a route sets beside what the origin says.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RouteTtl {
    /// Used where the origin gives no freshness.
    pub ttl: Option<Duration>,
    pub stale_while_revalidate: Option<Duration>,
    pub stale_if_error: Option<Duration>,
}

/// The request's side of a decision.
pub struct Asked<'a> {
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

/// How long a stored object may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// When the answer arrived.
    pub stored_at: u64,
    /// Its age by then, §4.2.3.
    pub initial_age: u64,
    pub lifetime: u64,
    pub stale_while_revalidate: u64,
    pub stale_if_error: u64,
    /// Use it only after asking the origin: `no-cache`.
    pub always_revalidate: bool,
}

impl Freshness {
    /// §4.2.3, in whole seconds.
    pub fn age(&self, now: u64) -> u64 {
        self.initial_age + now.saturating_sub(self.stored_at)
    }

    /// Stale from `now` on, and no more than that.
    pub fn expired(&self, now: u64) -> Freshness {
        Freshness {
            lifetime: self.lifetime.min(self.age(now)),
            ..*self
        }
    }

    /// Remaining freshness at `now`, in whole seconds; negative when stale. §4.2.
    pub fn ttl(&self, now: u64) -> i64 {
        self.lifetime as i64 - self.age(now) as i64
    }
}

/// Why an answer is not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NoStore,
    Private,
    SetCookie,
    Authorization,
    Status,
    VaryStar,
    NoFreshness,
}

impl Refused {
    /// For Cache-Status's `detail`.
    pub fn label(self) -> &'static str {
        match self {
            Refused::NoStore => "no-store",
            Refused::Private => "private",
            Refused::SetCookie => "set-cookie",
            Refused::Authorization => "authorization",
            Refused::Status => "status",
            Refused::VaryStar => "vary-star",
            Refused::NoFreshness => "no-freshness",
        }
    }
}

/// Whether a request may be answered from a cache or by a fill at all: only plain reads, and only
/// whole ones (a range goes to the origin unless the whole is stored).
pub fn may_look_up(asked: &Asked<'_>) -> bool {
    asked.method == Method::GET || asked.method == Method::HEAD
}

/// Whether an answer to this method makes what is stored for its URI invalid, §4.4.
pub fn invalidates(method: &Method, status: StatusCode) -> bool {
    let safe = matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    );
    !safe && (status.is_success() || status.is_redirection())
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
    let targeted = cdn_cache_control(answer).or_else(|| surrogate_control(answer));
    let control = targeted.unwrap_or_else(|| CacheControl::parse(answer));
    if control.must_understand && !understood(status) {
        return Err(Refused::Status);
    }
    let no_store = control.no_store && !control.must_understand;
    if no_store || CacheControl::parse(asked.headers).no_store {
        return Err(Refused::NoStore);
    }
    if control.private {
        return Err(Refused::Private);
    }
    if asked.headers.contains_key(AUTHORIZATION)
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
    if let Some(ttl) = route.ttl.filter(|_| status == StatusCode::OK) {
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

/// RFC 5861 §3; a `must-revalidate` forbids it.
fn stale_while_revalidate(control: &CacheControl, route: &RouteTtl) -> u64 {
    match route.stale_while_revalidate {
        _ if control.must_revalidate || control.no_cache => 0,
        Some(set) => set.as_secs(),
        None => control.stale_while_revalidate.unwrap_or(0),
    }
}

/// RFC 5861 §4.
fn stale_if_error(control: &CacheControl, route: &RouteTtl) -> u64 {
    match route.stale_if_error {
        _ if control.must_revalidate || control.no_cache => 0,
        Some(set) => set.as_secs(),
        None => control.stale_if_error.unwrap_or(0),
    }
}

/// What may be done with a stored object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    Fresh,
    /// Answer with it, and refresh it behind the answer.
    StaleWhileRevalidate,
    /// Ask the origin first; when that fails, it may still be used if `stale_if_error`.
    Revalidate {
        stale_if_error: bool,
    },
}

/// §5.2.1.4: what was answered before won't do.
pub fn refuses_stored(request: &HeaderMap) -> bool {
    asked_by(request).no_cache
}

/// Cache-Control, or where there is none Pragma, §5.4.
fn asked_by(request: &HeaderMap) -> CacheControl {
    if request.contains_key(CACHE_CONTROL) {
        return CacheControl::parse(request);
    }
    CacheControl {
        no_cache: pragma_no_cache(request),
        ..CacheControl::default()
    }
}

/// §4.2 and §5.2.1: freshness, bounded by what the request itself asks for.
pub fn usable(freshness: &Freshness, request: &HeaderMap, now: u64) -> Use {
    let (age, ttl) = (freshness.age(now), freshness.ttl(now));
    let stale_by = u64::try_from(-ttl).unwrap_or(0);
    let revalidate = Use::Revalidate {
        stale_if_error: !freshness.always_revalidate && stale_by < freshness.stale_if_error,
    };
    if freshness.always_revalidate {
        return revalidate;
    }
    let asked = asked_by(request);
    let refused = asked.no_cache
        || asked.max_age.is_some_and(|max| age > max)
        || asked.min_fresh.is_some_and(|min| ttl < min as i64);
    if refused {
        return revalidate;
    }
    if ttl > 0 {
        return Use::Fresh;
    }
    if stale_by < freshness.stale_while_revalidate {
        return Use::StaleWhileRevalidate;
    }
    revalidate
}

/// §5.4: only where there is no Cache-Control.
fn pragma_no_cache(request: &HeaderMap) -> bool {
    request.get(PRAGMA).is_some_and(|v| {
        Directives::new(v.as_bytes()).any(|(name, _)| name.eq_ignore_ascii_case(b"no-cache"))
    })
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

/// Whether the client's copy is still good: RFC 9110 §13.1. If-None-Match decides alone where it
/// is there.
pub fn not_modified(request: &HeaderMap, stored: &HeaderMap) -> bool {
    if request.contains_key(IF_NONE_MATCH) {
        let ours = stored.get(ETAG).map(|v| weak(v.as_bytes()));
        return request
            .get_all(IF_NONE_MATCH)
            .iter()
            .any(|line| lists_tag(line.as_bytes(), ours));
    }
    let since = request.get(IF_MODIFIED_SINCE).and_then(date);
    // §4.3.2: without a Last-Modified, the time at which the origin made the answer.
    let changed = stored.get(LAST_MODIFIED).or_else(|| stored.get(DATE));
    let changed = changed.and_then(date);
    matches!((since, changed), (Some(since), Some(changed)) if changed <= since)
}

/// RFC 9110 §13.1.2 with the weak comparison of §8.8.3.2; `*` matches any representation.
fn lists_tag(list: &[u8], ours: Option<&[u8]>) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    ours.is_some_and(|ours| split_list(list).any(|tag| weak(tag) == ours))
}

fn weak(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// An HTTP date as Unix seconds; the obsolete forms too, RFC 9110 §5.6.7.
pub(super) fn date(value: &http::HeaderValue) -> Option<u64> {
    let text = value.to_str().ok()?.trim();
    let time = httpdate::parse_http_date(text)
        .ok()
        .or_else(|| carelessly_written_date(text))?;
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .map(|d| d.as_secs())
}

/// A date in which only upper and lower case, or the day of the week, are wrong.
fn carelessly_written_date(text: &str) -> Option<SystemTime> {
    const SHORTEST: usize = "Sun Nov  6 08:49:37 1994".len();
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    if text.len() < SHORTEST {
        return None;
    }
    let mut written = String::with_capacity(text.len());
    for letter in text.chars() {
        let inside = written.ends_with(|c: char| c.is_ascii_alphabetic());
        written.push(if inside {
            letter.to_ascii_lowercase()
        } else {
            letter.to_ascii_uppercase()
        });
    }
    let written = written.replace("Gmt", "GMT");
    let (_, after_day) = written.split_at_checked(3)?;
    DAYS.iter()
        .find_map(|day| httpdate::parse_http_date(&format!("{day}{after_day}")).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    fn store(
        request: &[(&'static str, &str)],
        answer: &[(&'static str, &str)],
    ) -> Result<Freshness, Refused> {
        store_with(200, request, answer, RouteTtl::default())
    }

    fn store_with(
        status: u16,
        request: &[(&'static str, &str)],
        answer: &[(&'static str, &str)],
        route: RouteTtl,
    ) -> Result<Freshness, Refused> {
        let (request, answer) = (fields(request), fields(answer));
        let asked = Asked {
            method: &Method::GET,
            headers: &request,
        };
        let status = StatusCode::from_u16(status).expect("a status");
        storable(&asked, status, &answer, &route, 1000, 1000)
    }

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
    fn what_is_said_to_caches_like_this_one_counts_alone() {
        let life = |lines: &[(&'static str, &str)]| store(&[], lines).map(|f| f.lifetime);
        let rest = ("cache-control", "no-store");
        assert_eq!(life(&[("cdn-cache-control", "max-age=60"), rest]), Ok(60));
        assert_eq!(
            life(&[
                ("surrogate-control", "max-age=60+5, content=\"ESI/1.0\""),
                rest
            ]),
            Ok(60)
        );
        assert_eq!(
            life(&[("surrogate-control", "max-age=60;other"), rest]),
            Err(Refused::NoStore)
        );
        for wrong in ["max-age=\"60\"", "max-age=60, &&", "", "MAX-AGE=60"] {
            assert_eq!(
                life(&[("cdn-cache-control", wrong), rest]),
                Err(Refused::NoStore),
                "{wrong}"
            );
        }
        let fresh = ("cache-control", "max-age=60");
        for none in ["no-store", "private"] {
            assert!(
                life(&[("cdn-cache-control", none), fresh]).is_err(),
                "{none}"
            );
        }
        assert_eq!(
            life(&[("cdn-cache-control", "max-age=0"), ("expires", "0"), fresh]),
            Ok(0)
        );
    }

    #[test]
    fn dates_are_read_however_carelessly_written() {
        let read = |text: &str| date(&text.parse().expect("a value"));
        let right = read("Thu, 18 Aug 2050 02:01:18 GMT");
        assert!(right.is_some());
        for text in [
            "THU, 18 Aug 2050 02:01:18 GMT",
            "thu, 18 AUG 2050 02:01:18 gMT",
            "Mon, 18 Aug 2050 02:01:18 GMT",
            "Mon Aug 18 02:01:18 2050",
        ] {
            assert_eq!(read(text), right, "{text}");
        }
        for text in [
            "0",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
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
        assert_eq!(life(500, &[]), Err(Refused::Status));
        assert_eq!(
            life(404, &[]),
            Err(Refused::NoFreshness),
            "a failure needs the origin's word"
        );
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

    fn kept(lifetime: u64, swr: u64, sie: u64) -> Freshness {
        Freshness {
            stored_at: 1000,
            initial_age: 0,
            lifetime,
            stale_while_revalidate: swr,
            stale_if_error: sie,
            always_revalidate: false,
        }
    }

    #[test]
    fn an_object_goes_from_fresh_to_stale_to_gone() {
        let (object, none) = (kept(10, 5, 20), HeaderMap::new());
        assert_eq!(usable(&object, &none, 1009), Use::Fresh);
        assert_eq!(usable(&object, &none, 1010), Use::StaleWhileRevalidate);
        assert_eq!(
            usable(&object, &none, 1015),
            Use::Revalidate {
                stale_if_error: true
            }
        );
        assert_eq!(
            usable(&object, &none, 1030),
            Use::Revalidate {
                stale_if_error: false
            }
        );
    }

    #[test]
    fn a_request_may_ask_for_more() {
        let object = kept(10, 0, 0);
        let ask = |value: &str, now| usable(&object, &fields(&[("cache-control", value)]), now);
        let revalidate = Use::Revalidate {
            stale_if_error: false,
        };
        assert_eq!(ask("no-cache", 1000), revalidate);
        assert_eq!(ask("max-age=3", 1003), Use::Fresh);
        assert_eq!(ask("max-age=3", 1004), revalidate);
        assert_eq!(ask("min-fresh=5", 1005), Use::Fresh);
        assert_eq!(ask("min-fresh=5", 1006), revalidate);
        assert_eq!(
            usable(&object, &fields(&[("pragma", "no-cache")]), 1000),
            revalidate
        );
    }

    #[test]
    fn an_age_from_upstream_counts() {
        let stored = store(&[], &[("cache-control", "max-age=10"), ("age", "4")]).expect("stored");
        assert_eq!(stored.age(1003), 7);
        assert_eq!(stored.ttl(1003), 3);
        assert_eq!(stored.ttl(1011), -5);
    }

    #[test]
    fn conditional_requests() {
        let stored = fields(&[
            ("etag", "\"a,b\""),
            ("last-modified", "Thu, 01 Jan 1970 00:10:00 GMT"),
        ]);
        let ask = |lines: &[(&'static str, &str)]| not_modified(&fields(lines), &stored);
        assert!(ask(&[("if-none-match", "\"x\", W/\"a,b\"")]));
        assert!(ask(&[("if-none-match", "*")]));
        assert!(!ask(&[("if-none-match", "\"a\"")]));
        assert!(ask(&[(
            "if-modified-since",
            "Thu, 01 Jan 1970 00:10:00 GMT"
        )]));
        assert!(!ask(&[(
            "if-modified-since",
            "Thu, 01 Jan 1970 00:09:59 GMT"
        )]));
        assert!(!ask(&[
            ("if-none-match", "\"x\""),
            ("if-modified-since", "Thu, 01 Jan 1970 00:10:00 GMT")
        ]));
    }

    proptest! {
        #[test]
        fn no_field_value_panics(bytes in proptest::collection::vec(32u8..=255, 0..80)) {
            let Ok(value) = http::HeaderValue::from_bytes(&bytes) else { return Ok(()) };
            let mut map = HeaderMap::new();
            for name in [CACHE_CONTROL, EXPIRES, DATE, AGE, VARY, ETAG, LAST_MODIFIED, IF_NONE_MATCH, PRAGMA] {
                map.insert(name, value.clone());
            }
            let asked = Asked { method: &Method::GET, headers: &map };
            if let Ok(kept) = storable(&asked, StatusCode::OK, &map, &RouteTtl::default(), 5, 9) {
                usable(&kept, &map, 1 << 40);
            }
            not_modified(&map, &map);
        }

        /// Whatever the numbers, a fresh answer is never older than its lifetime.
        #[test]
        fn fresh_means_younger_than_the_lifetime(
            life in 0u64..100, age in 0u64..100, swr in 0u64..50, sie in 0u64..50, later in 0u64..300,
        ) {
            let object = Freshness { initial_age: age, ..kept(life, swr, sie) };
            let now = 1000 + later;
            match usable(&object, &HeaderMap::new(), now) {
                Use::Fresh => prop_assert!(object.age(now) < life),
                Use::StaleWhileRevalidate => {
                    prop_assert!(object.age(now) >= life && object.age(now) < life + swr)
                }
                Use::Revalidate { stale_if_error } => {
                    prop_assert!(object.age(now) >= life + swr);
                    prop_assert_eq!(stale_if_error, object.age(now) < life + sie);
                }
            }
        }
    }
}
