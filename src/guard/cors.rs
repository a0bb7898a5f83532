//! Which other sites' pages may ask, and see what comes: the CORS protocol of the Fetch standard
//! (<https://fetch.spec.whatwg.org/#http-cors-protocol>). Browsers enforce it; the edge only says.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use std::time::Duration;

#[derive(Clone, Debug, PartialEq)]
pub struct CorsSettings {
    pub origins: Vec<Origin>,
    pub methods: Vec<Method>,
    /// Whether cookies and the like may come along.
    pub credentials: bool,
    /// How long a browser may remember the answer to a preflight.
    pub max_age: Duration,
    /// Fields that requests may have; None: those that are asked for.
    pub headers: Option<Vec<HeaderName>>,
    /// Fields of answers that pages may read, beside the usual ones.
    pub expose: Vec<HeaderName>,
}

/// Lower case, as browsers write it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Any,
    /// `https://shop.example`
    Is(String),
    /// Of `https://*.shop.example:8443` what is before the `*`, and after it.
    Below(String, String),
}

/// A route's rules, ready to be said.
pub struct Cors {
    origins: Vec<Origin>,
    any: bool,
    credentials: bool,
    methods: HeaderValue,
    max_age: HeaderValue,
    headers: Option<HeaderValue>,
    expose: Option<HeaderValue>,
}

/// What an origin may have said itself.
const REPLACED: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_EXPOSE_HEADERS,
];

/// The method that a preflight asks about; None: it is none.
pub fn preflight(method: &Method, headers: &HeaderMap) -> Option<Method> {
    if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
        return None;
    }
    let asked = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
    Method::from_bytes(asked.as_bytes()).ok()
}

impl Cors {
    pub fn new(settings: &CorsSettings) -> Cors {
        let list = |words: &[&str]| {
            HeaderValue::from_str(&words.join(", ")).expect("names of methods and fields")
        };
        let names = |names: &[HeaderName]| {
            let names: Vec<_> = names.iter().map(HeaderName::as_str).collect();
            list(&names)
        };
        let methods: Vec<_> = settings.methods.iter().map(Method::as_str).collect();
        Cors {
            any: settings.origins.contains(&Origin::Any),
            origins: settings.origins.clone(),
            credentials: settings.credentials,
            methods: list(&methods),
            max_age: settings.max_age.as_secs().into(),
            headers: settings.headers.as_deref().map(names),
            expose: (!settings.expose.is_empty()).then(|| names(&settings.expose)),
        }
    }

    pub fn allows(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|known| known.is(origin.as_bytes()))
    }

    /// Makes an answer's fields those for a page of `origin`, whatever the server has said.
    pub fn stamp(&self, fields: &mut HeaderMap, origin: Option<&HeaderValue>) {
        for name in &REPLACED {
            fields.remove(name);
        }
        if !self.any {
            vary(fields, "origin");
        }
        let Some(origin) = origin.filter(|origin| self.allows(origin)) else {
            return;
        };
        let allowed = match self.any {
            true => HeaderValue::from_static("*"),
            false => origin.clone(),
        };
        fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            fields.insert(
                ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        if let Some(expose) = &self.expose {
            fields.insert(ACCESS_CONTROL_EXPOSE_HEADERS, expose.clone());
        }
    }

    /// What a preflight is told beside that.
    pub fn permit(&self, fields: &mut HeaderMap, request: &HeaderMap) {
        fields.remove(ACCESS_CONTROL_EXPOSE_HEADERS);
        fields.insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        fields.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        let headers = match &self.headers {
            Some(headers) => Some(headers),
            None => {
                vary(fields, "access-control-request-headers");
                request.get(ACCESS_CONTROL_REQUEST_HEADERS)
            }
        };
        if let Some(headers) = headers {
            fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers.clone());
        }
    }
}

impl Origin {
    fn is(&self, origin: &[u8]) -> bool {
        match self {
            Origin::Any => true,
            Origin::Is(known) => known.as_bytes() == origin,
            Origin::Below(before, after) => {
                let rest = origin.strip_prefix(before.as_bytes());
                let label = rest.and_then(|rest| rest.strip_suffix(after.as_bytes()));
                label.is_some_and(|label| {
                    let of_a_name = |b: &u8| b.is_ascii_alphanumeric() || b"-._".contains(b);
                    !label.is_empty() && label.iter().all(of_a_name)
                })
            }
        }
    }
}

/// Adds a name to Vary, unless it is there.
fn vary(fields: &mut HeaderMap, name: &'static str) {
    let there = fields.get_all(VARY).iter().any(|line| {
        let mut names = line
            .as_bytes()
            .split(|b| *b == b',')
            .map(<[u8]>::trim_ascii);
        names.any(|known| known == b"*" || known.eq_ignore_ascii_case(name.as_bytes()))
    });
    if !there {
        fields.append(VARY, HeaderValue::from_static(name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cors(origins: &[Origin], credentials: bool) -> Cors {
        Cors::new(&CorsSettings {
            origins: origins.to_vec(),
            methods: vec![Method::GET, Method::PUT],
            credentials,
            max_age: Duration::from_secs(60),
            headers: None,
            expose: vec![HeaderName::from_static("x-total")],
        })
    }

    fn stamped(cors: &Cors, origin: &'static str) -> HeaderMap {
        let mut fields = HeaderMap::new();
        fields.insert(
            ACCESS_CONTROL_ALLOW_ORIGIN,
            HeaderValue::from_static("https://old"),
        );
        cors.stamp(&mut fields, Some(&HeaderValue::from_static(origin)));
        fields
    }

    #[test]
    fn an_origin_is_named_only_where_it_is_known() {
        let below = Origin::Below("https://".into(), ".shop.example".into());
        let cors = cors(&[Origin::Is("https://a.example".into()), below], true);
        for origin in [
            "https://a.example",
            "https://x.shop.example",
            "https://x.y.shop.example",
        ] {
            let fields = stamped(&cors, origin);
            assert_eq!(fields[ACCESS_CONTROL_ALLOW_ORIGIN], origin);
            assert_eq!(fields[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
            assert_eq!(fields[VARY], "origin");
        }
        for origin in [
            "http://a.example",
            "https://a.example.evil",
            "https://shop.example",
            "https://.shop.example",
            "https://evil/.shop.example",
            "https://evil:1@x.shop.example",
            "null",
        ] {
            let fields = stamped(&cors, origin);
            assert!(
                !fields.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
                "{origin}"
            );
            assert_eq!(fields[VARY], "origin");
        }
    }

    #[test]
    fn for_any_origin_nothing_depends_on_it() {
        let cors = cors(&[Origin::Any], false);
        let mut fields = stamped(&cors, "https://x");
        assert_eq!(fields[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!fields.contains_key(VARY));
        let mut request = HeaderMap::new();
        request.insert(
            ACCESS_CONTROL_REQUEST_HEADERS,
            HeaderValue::from_static("x-a, x-b"),
        );
        cors.permit(&mut fields, &request);
        assert_eq!(fields[ACCESS_CONTROL_ALLOW_METHODS], "GET, PUT");
        assert_eq!(fields[ACCESS_CONTROL_ALLOW_HEADERS], "x-a, x-b");
        assert_eq!(fields[ACCESS_CONTROL_MAX_AGE], "60");
    }
}
