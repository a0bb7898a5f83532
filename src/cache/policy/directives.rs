//! Cache-Control, and the lists that it and other fields are made of.

use http::HeaderMap;
use http::header::CACHE_CONTROL;

/// The longest that any freshness counts, §1.2.2: a delta-seconds that overflows means "forever".
pub const FOREVER: u64 = 1 << 31;

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

    pub(super) fn add(&mut self, (name, value): (&[u8], Option<&[u8]>)) {
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

/// The first of repeated directives counts, and one without a valid number is stale at once (§4.2.1).
fn keep_first(slot: &mut Option<u64>, value: Option<&[u8]>) {
    slot.get_or_insert(value.and_then(seconds).unwrap_or(0));
}

/// delta-seconds, §1.2.2.
pub(super) fn seconds(value: &[u8]) -> Option<u64> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(value).ok()?;
    Some(text.parse().unwrap_or(FOREVER).min(FOREVER))
}

/// `name`, `name=token` and `name="quoted"`, split by commas outside quotes.
pub(super) struct Directives<'a> {
    rest: &'a [u8],
}

impl<'a> Directives<'a> {
    pub(super) fn new(line: &'a [u8]) -> Directives<'a> {
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
pub fn split_list(line: &[u8]) -> impl Iterator<Item = &[u8]> {
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
