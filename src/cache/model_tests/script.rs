//! What happens in a case: who asks what, what the origin says, how time passes.

use http::header::{
    AGE, AUTHORIZATION, CACHE_CONTROL, DATE, ETAG, EXPIRES, IF_RANGE, LAST_MODIFIED, RANGE,
    SET_COOKIE, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug)]
pub enum Step {
    /// What the origin says, should it be asked; and whether it says it at once, or when the steps
    /// below say so.
    Ask(Ask, Say, bool),
    /// The head of an answer under way comes, or the end of its body.
    Head(usize, Say),
    End(usize),
    Write(Write),
    Wait(u64),
}

#[derive(Clone, Debug)]
pub struct Ask {
    pub uri: usize,
    pub method: Method,
    pub fields: HeaderMap,
}

/// An answer of the origin. Dates are in seconds from the time of the answer.
#[derive(Clone, Debug)]
pub struct Say {
    pub status: u16,
    pub fields: HeaderMap,
    pub date: Option<i64>,
    pub expires: Option<i64>,
    pub last_modified: Option<i64>,
    /// What it has is what the condition names.
    pub not_modified: bool,
    /// It can't be reached.
    pub fails: bool,
}

#[derive(Clone, Debug)]
pub struct Write {
    pub uri: usize,
    pub method: Method,
    pub status: u16,
    /// The URI in the answer's Location.
    pub location: Option<usize>,
    pub fields: HeaderMap,
}

impl Say {
    pub fn fields(&self, now: u64) -> HeaderMap {
        let mut fields = self.fields.clone();
        for (name, offset) in [
            (DATE, self.date),
            (EXPIRES, self.expires),
            (LAST_MODIFIED, self.last_modified),
        ] {
            if let Some(offset) = offset {
                fields.insert(name, date(now.saturating_add_signed(offset)));
            }
        }
        fields
    }
}

pub fn date(seconds: u64) -> HeaderValue {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    HeaderValue::try_from(httpdate::fmt_http_date(time)).expect("a date is ASCII")
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(step(), 2..24)
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (ask(), say(), prop::bool::weighted(0.7)).prop_map(|(a, s, q)| Step::Ask(a, s, q)),
        2 => (0usize..4, say()).prop_map(|(i, s)| Step::Head(i, s)),
        2 => (0usize..4).prop_map(Step::End),
        2 => write().prop_map(Step::Write),
        5 => (0u64..12).prop_map(Step::Wait),
    ]
}

fn uri() -> impl Strategy<Value = usize> {
    select(vec![0, 0, 0, 1])
}

fn ask() -> impl Strategy<Value = Ask> {
    let method = prop_oneof![9 => Just(Method::GET), 1 => Just(Method::HEAD)];
    (uri(), method, ask_fields()).prop_map(|(uri, method, fields)| Ask {
        uri,
        method,
        fields,
    })
}

fn ask_fields() -> impl Strategy<Value = HeaderMap> {
    let control = maybe(
        0.3,
        CACHE_CONTROL,
        &[
            "no-cache",
            "no-store",
            "max-age=0",
            "max-age=3",
            "Max-Age=\"6\"",
            "max-age=20",
            "min-fresh=0",
            "min-fresh=4",
            "max-stale",
            "max-stale=3, max-age=9",
            "only-if-cached",
            "only-if-cached, max-stale=9",
            "max-age=x",
            "x=\"no-cache, no-store\"",
        ],
    );
    let rest = [
        maybe(0.05, http::header::PRAGMA, &["no-cache", "x"]),
        maybe(0.15, AUTHORIZATION, &["Basic YTpi", "Basic YzpkCg=="]),
        maybe(
            0.4,
            http::header::ACCEPT_LANGUAGE,
            &["en", "de", "EN", "en, de", "de,en", ""],
        ),
        maybe(0.3, TENANT, &["a", "b", "A", "a,b", "a , b"]),
        maybe(
            0.1,
            http::header::IF_NONE_MATCH,
            &["\"1\"", "W/\"1\"", "\"2\", \"1\"", "*", "1", "\"x,\"1\""],
        ),
        maybe(
            0.1,
            http::header::IF_MODIFIED_SINCE,
            &[
                "Mon, 12 Jan 1970 13:46:40 GMT",
                "Mon, 12 Jan 1970 13:45:00 GMT",
                "yesterday",
            ],
        ),
        maybe(
            0.1,
            RANGE,
            &[
                "bytes=0-3",
                "bytes=4-",
                "bytes=-2",
                "bytes=99-",
                "bytes=3-1",
                "lines=1-2",
            ],
        ),
        maybe(0.05, IF_RANGE, &["\"1\"", "\"2\"", "W/\"1\""]),
    ];
    (control, rest).prop_map(|(control, rest)| merge(rest.into_iter().chain([control])))
}

/// A field that nobody but this application knows.
pub const TENANT: HeaderName = HeaderName::from_static("x-tenant");
pub const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");

fn say() -> impl Strategy<Value = Say> {
    let status = select(vec![
        200, 200, 200, 200, 200, 200, 200, 200, 203, 204, 206, 299, 301, 302, 404, 410, 500, 503,
    ]);
    (
        status,
        say_fields(),
        prop::option::weighted(0.6, select(vec![0, 0, 0, -3, -30, 5])),
        prop::option::weighted(0.15, -5i64..20),
        prop::option::weighted(0.4, select(vec![-5, -50, -200])),
        prop::bool::weighted(0.5),
        prop::bool::weighted(0.1),
    )
        .prop_map(
            |(status, fields, date, expires, last_modified, not_modified, fails)| Say {
                status,
                fields,
                date,
                expires,
                last_modified,
                not_modified,
                fails,
            },
        )
}

fn say_fields() -> impl Strategy<Value = HeaderMap> {
    let rest = [
        maybe(
            0.12,
            CDN_CACHE_CONTROL,
            &[
                "max-age=8",
                "no-store",
                "private",
                "no-cache, max-age=9",
                "max-age=4, stale-while-revalidate=9",
                "must-revalidate, max-age=2",
                "MAX-AGE=8",
                "max-age=\"8\"",
                "max-age=8, &&",
                "",
                "unheard-of",
            ],
        ),
        maybe(
            0.1,
            AGE,
            &["0", "3", "30", "-1", "x", "3, 30", "99999999999999999999"],
        ),
        maybe(0.5, ETAG, &["\"1\"", "W/\"1\"", "\"2\""]),
        maybe(
            0.4,
            VARY,
            &[
                "accept-language",
                "X-Tenant",
                "accept-language, x-tenant",
                "x-tenant,Accept-Language",
                "*",
                "accept, *",
                "",
            ],
        ),
        maybe(0.1, SET_COOKIE, &["a=b"]),
        maybe(0.05, EXPIRES, &["0", "never"]),
    ];
    (control(), rest).prop_map(|(control, rest)| merge(rest.into_iter().chain([control])))
}

/// Directives in every mixture, on one line or several, and as carelessly as people write them.
fn control() -> impl Strategy<Value = HeaderMap> {
    const KNOWN: [&str; 24] = [
        "max-age=0",
        "max-age=2",
        "max-age=10",
        "max-age=10",
        "max-age=10",
        "MAX-age=\"10\"",
        "s-maxage=0",
        "s-maxage=5",
        "no-cache",
        "no-cache=\"x, max-age=99\"",
        "no-store",
        "No-Store",
        "private",
        "private=\"set-cookie\"",
        "public",
        "public",
        "must-revalidate",
        "proxy-revalidate",
        "must-understand",
        "immutable",
        "stale-while-revalidate=6",
        "stale-if-error=6",
        "max-age=x",
        "ext=\"no-store, max-age=99\"",
    ];
    let few = subsequence(KNOWN.to_vec(), 0..4).prop_shuffle();
    let one = select(KNOWN[2..5].to_vec()).prop_map(|plain| vec![plain]);
    (prop_oneof![3 => few, 1 => one], 0usize..3).prop_map(|(directives, way)| {
        let lines = match way {
            0 => vec![directives.join(", ")],
            1 => vec![directives.join(" ,,\t")],
            _ => directives.into_iter().map(str::to_owned).collect(),
        };
        let lines = lines.into_iter().filter(|line| !line.is_empty());
        let value = |line| HeaderValue::try_from(line).expect("ASCII");
        lines.map(|line| (CACHE_CONTROL, value(line))).collect()
    })
}

fn write() -> impl Strategy<Value = Write> {
    (
        uri(),
        select(vec![Method::POST, Method::PUT, Method::DELETE]),
        select(vec![200, 201, 204, 303, 404, 500]),
        prop::option::weighted(0.2, uri()),
        maybe(0.2, TENANT, &["a", "b"]),
    )
        .prop_map(|(uri, method, status, location, fields)| Write {
            uri,
            method,
            status,
            location,
            fields,
        })
}

/// With this chance one of the values.
fn maybe(
    chance: f64,
    name: HeaderName,
    values: &[&'static str],
) -> impl Strategy<Value = HeaderMap> + use<> {
    prop::option::weighted(chance, select(values.to_vec())).prop_map(move |value| {
        let value = value.map(HeaderValue::from_static);
        value
            .map(|value| (name.clone(), value))
            .into_iter()
            .collect()
    })
}

/// `collect` and `extend` of a map's own kind keep the lines of one name apart.
fn merge(maps: impl Iterator<Item = HeaderMap>) -> HeaderMap {
    let mut all = HeaderMap::new();
    for map in maps {
        for (name, value) in &map {
            all.append(name, value.clone());
        }
    }
    all
}
