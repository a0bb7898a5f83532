use super::*;
use crate::cache::settings::{QueryNames, QuerySettings};
use http::HeaderValue;
use http::header::{ACCEPT_LANGUAGE, COOKIE};
use proptest::prelude::*;

fn url<'a>(host: &'a str, path: &'a str, query: Option<&'a str>) -> Url<'a> {
    Url {
        host,
        path: path.as_bytes(),
        query: query.map(str::as_bytes),
    }
}

fn key(rules: &KeyRules, url: &Url<'_>) -> Key {
    rules.key("app", Scheme::Http, url, &HeaderMap::new())
}

fn ignoring(names: &[&str]) -> KeyRules {
    let names = names.iter().map(|name| name.to_string()).collect();
    KeyRules::new(&KeySettings {
        query: QuerySettings {
            names: QueryNames::Except(names),
            sort: false,
        },
        ..KeySettings::default()
    })
}

#[test]
fn ignored_parameters_tell_nothing_apart() {
    let rules = ignoring(&["utm_*", "fbclid"]);
    let of = |host, query| key(&rules, &url(host, "/", Some(query)));
    assert_eq!(of("h", "a=1"), of("H", "utm_source=x&a=1&fbclid=2&utm_x"));
    assert_ne!(of("h", "a=1"), of("h", "a=1&fbclid2=2"));
    assert_ne!(of("h", "a=1"), of("h", "a=2"));
    assert_eq!(of("h", "utm_x"), key(&rules, &url("h", "/", None)));
}

#[test]
fn the_scheme_counts_unless_told_otherwise() {
    let of = |rules: &KeyRules| {
        Scheme::ALL.map(|s| rules.key("app", s, &url("h", "/", None), &HeaderMap::new()))
    };
    let [plain, secure] = of(&KeyRules::default());
    assert_ne!(plain, secure);
    let [plain, secure] = of(&KeyRules::new(&KeySettings {
        scheme: false,
        ..KeySettings::default()
    }));
    assert_eq!(plain, secure);
}

#[test]
fn the_path_counts_as_it_was_written() {
    let rules = KeyRules::default();
    assert_ne!(
        key(&rules, &url("h", "/%7Ea", None)),
        key(&rules, &url("h", "/~a", None))
    );
}

#[test]
fn no_query_is_taken_for_something_made() {
    let rules = ignoring(&["x"]);
    let made = key(&rules, &url("h", "/a", None)).derived("w400");
    assert_ne!(made, key(&rules, &url("h", "/a", Some("made&w400"))));
}

#[test]
fn variants_differ_by_value_and_absence() {
    let base = key(&KeyRules::default(), &url("h", "/", None));
    let with = |value: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        value.map(|v| headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(v)));
        base.variant(1, &[ACCEPT_LANGUAGE], &headers)
    };
    assert_eq!(with(Some("de")), with(Some("de")));
    assert_ne!(with(Some("de")), with(Some("fr")));
    assert_ne!(with(Some("")), with(None));
    assert_ne!(with(Some("-")), with(None));
}

#[test]
fn a_key_can_be_read_back() {
    let rules = ignoring(&["x"]);
    let base = key(&rules, &url("H", "/a", Some("x=1&b=2&c")));
    let variant = base.variant(7, &[ACCEPT_LANGUAGE], &HeaderMap::new());
    let expected = KeyParts {
        upstream: "app".into(),
        scheme: "http".into(),
        host: "h".into(),
        path: "/a".into(),
        query: Some("b=2&c".into()),
        made: None,
    };
    assert_eq!(variant.parts(), Some(expected.clone()));
    let made = base.derived("w400");
    assert_eq!(
        made.parts(),
        Some(KeyParts {
            made: Some("w400".into()),
            ..expected
        })
    );
}

#[test]
fn a_route_told_apart_has_keys_of_its_own_and_is_purged_by_the_same_url() {
    let settings = KeySettings {
        cookies: vec!["region".into()],
        ..KeySettings::default()
    };
    let at = url("h", "/a", Some("b=2"));
    for plain in [KeyRules::default(), KeyRules::new(&settings)] {
        let [one, other] = [1, 2].map(|by| plain.clone().apart(by));
        let keys = [&plain, &one, &other].map(|rules| key(rules, &at));
        assert!(keys[0] != keys[1] && keys[1] != keys[2]);
        assert_eq!(keys[1].parts(), keys[0].parts());
        let root = |rules: &KeyRules| rules.root("app", Scheme::Http, &at);
        assert_eq!(root(&one) == root(&plain), root(&plain).is_none());
        assert_eq!(one.address(&at), plain.address(&at));
    }
}

/// A request as the rules of a key look at it.
#[derive(Clone, Debug)]
struct Request {
    https: bool,
    host: String,
    path: String,
    query: Option<Vec<(String, String)>>,
    language: Option<String>,
    cookie: Option<String>,
    upstream: String,
}

impl Request {
    fn key(&self, rules: &KeyRules) -> Key {
        let query = self.query.as_ref().map(|pairs| {
            let pairs = pairs.iter().map(|(name, value)| format!("{name}={value}"));
            pairs.collect::<Vec<_>>().join("&")
        });
        let mut headers = HeaderMap::new();
        let mut add = |name, value: Option<String>| {
            value.map(|v| headers.insert(name, HeaderValue::try_from(v).expect("a value")))
        };
        add(ACCEPT_LANGUAGE, self.language.clone());
        add(COOKIE, self.cookie.as_ref().map(|c| format!("x=1; id={c}")));
        let scheme = match self.https {
            true => Scheme::Https,
            false => Scheme::Http,
        };
        let url = url(&self.host, &self.path, query.as_deref());
        rules.key(&self.upstream, scheme, &url, &headers)
    }
}

fn request() -> impl Strategy<Value = Request> {
    let pairs = prop::collection::vec(("[ab]", "[01]?"), 1..4);
    (
        any::<bool>(),
        "[hH]{1,2}",
        "/[a/]{0,2}",
        prop::option::of(pairs),
        prop::option::of("[+-]?[de]"),
        prop::option::of("[+-]?[12]?"),
        "[uv]",
    )
        .prop_map(
            |(https, host, path, query, language, cookie, upstream)| Request {
                https,
                host,
                path,
                query,
                language,
                cookie,
                upstream,
            },
        )
}

fn settings() -> impl Strategy<Value = KeySettings> {
    let names = prop_oneof![
        Just(QueryNames::All),
        Just(QueryNames::Except(vec!["a".into()])),
        Just(QueryNames::Only(vec!["a".into()])),
        Just(QueryNames::Only(vec![])),
    ];
    (
        any::<bool>(),
        names,
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(scheme, names, sort, language, cookie)| KeySettings {
            scheme,
            query: QuerySettings { names, sort },
            headers: if language {
                vec![ACCEPT_LANGUAGE]
            } else {
                vec![]
            },
            cookies: if cookie { vec!["id".into()] } else { vec![] },
        })
}

/// What counts of a request, put plainly. With rules for its parameters, a query of which none
/// counts is no query.
fn model(request: &Request, settings: &KeySettings) -> impl PartialEq + std::fmt::Debug {
    let counts = |name: &str| match &settings.query.names {
        QueryNames::All => true,
        QueryNames::Except(names) => !names.iter().any(|n| n == name),
        QueryNames::Only(names) => names.iter().any(|n| n == name),
    };
    let mut query = request.query.clone().unwrap_or_default();
    query.retain(|(name, _)| counts(name));
    if settings.query.sort {
        query.sort_by_key(|(name, _)| name.clone());
    }
    (
        settings.scheme.then_some(request.https),
        request.host.to_ascii_lowercase(),
        request.path.clone(),
        query,
        (!settings.headers.is_empty()).then(|| request.language.clone()),
        (!settings.cookies.is_empty()).then(|| request.cookie.clone()),
        request.upstream.clone(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Requests that differ in what counts never meet, and all others always do.
    #[test]
    fn keys_meet_exactly_where_the_model_does(a in request(), b in request(), settings in settings()) {
        let rules = KeyRules::new(&settings);
        let same = model(&a, &settings) == model(&b, &settings);
        prop_assert_eq!(a.key(&rules) == b.key(&rules), same);
    }

    /// As above, for requests that differ in one place only.
    #[test]
    fn one_difference_is_enough(a in request(), b in request(), place in 0..7, settings in settings()) {
        let mut other = a.clone();
        match place {
            0 => other.https = b.https,
            1 => other.host = b.host,
            2 => other.path = b.path,
            3 => other.query = b.query,
            4 => other.language = b.language,
            5 => other.cookie = b.cookie,
            _ => other.upstream = b.upstream,
        }
        let rules = KeyRules::new(&settings);
        let same = model(&a, &settings) == model(&other, &settings);
        prop_assert_eq!(a.key(&rules) == other.key(&rules), same);
    }

    #[test]
    fn whatever_the_bytes_a_key_is_read_back(
        host in "[a-z.]{0,9}", path in "/[ -~]{0,200}", query in prop::option::of("[ -~]{0,200}"),
    ) {
        let parts = key(&KeyRules::default(), &url(&host, &path, query.as_deref())).parts();
        let parts = parts.expect("it can be read");
        prop_assert_eq!((parts.host, parts.path, parts.query), (host, path, query));
    }
}
