//! Another path for servers than clients ask for.

use crate::path;
use std::borrow::Cow;

/// A route's `rewrite`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrite {
    /// Taken away first. Begins with `/`, does not end with one.
    pub strip_prefix: Option<String>,
    /// What the path becomes then; the query stays.
    pub path: Option<NewPath>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPath {
    /// Begins with `/`.
    pub start: String,
    /// Followed by what is behind this beginning of the path; None: `start` is all of it.
    pub behind: Option<String>,
}

impl Rewrite {
    pub fn is_empty(&self) -> bool {
        self.strip_prefix.is_none() && self.path.is_none()
    }

    /// Path and query for a server. What the client wrote stays as it was, unless it hides the
    /// beginning that goes, or climbs, which would lead out of where it is put.
    pub fn apply<'t>(&self, target: &'t [u8]) -> Cow<'t, [u8]> {
        match self.to_be_normal(target) {
            Some(normal) => Cow::Owned(self.applied(&normal).into_owned()),
            None => self.applied(target),
        }
    }

    fn to_be_normal(&self, target: &[u8]) -> Option<Vec<u8>> {
        let query = memchr::memchr(b'?', target).unwrap_or(target.len());
        let (path, query) = target.split_at(query);
        if self.is_empty() || path::is_plain(path) {
            return None;
        }
        let behind = self.path.as_ref().and_then(|path| path.behind.as_deref());
        let goes = self.strip_prefix.as_deref().or(behind).unwrap_or("");
        let stays = path.starts_with(goes.as_bytes()) && !path::climbs(path);
        let normal = (!stays).then(|| path::normal(path)).flatten()?;
        Some([normal.as_bytes(), query].concat())
    }

    fn applied<'t>(&self, target: &'t [u8]) -> Cow<'t, [u8]> {
        let stripped = match &self.strip_prefix {
            Some(prefix) => strip_prefix(target, prefix.as_bytes()),
            None => Cow::Borrowed(target),
        };
        match &self.path {
            Some(path) => Cow::Owned(path.of(&stripped)),
            None => stripped,
        }
    }
}

impl NewPath {
    fn of(&self, target: &[u8]) -> Vec<u8> {
        let query = memchr::memchr(b'?', target).unwrap_or(target.len());
        let (path, query) = target.split_at(query);
        let rest = self.behind.as_ref().map(|behind| {
            let behind = behind.as_bytes();
            // `/photos` is what `/photos/*` stands for with nothing behind it.
            let is_short = behind.strip_suffix(b"/") == Some(path);
            let rest = path.strip_prefix(behind).filter(|_| !is_short);
            rest.unwrap_or_default()
        });
        [self.start.as_bytes(), rest.unwrap_or_default(), query].concat()
    }
}

/// `/v1/x?y` without `/v1` is `/x?y`; `/v1` alone is `/`; anything else stays.
fn strip_prefix<'t>(target: &'t [u8], prefix: &[u8]) -> Cow<'t, [u8]> {
    match target.strip_prefix(prefix) {
        Some(rest @ [b'/', ..]) => Cow::Borrowed(rest),
        Some(rest @ ([] | [b'?', ..])) => Cow::Owned([b"/", rest].concat()),
        _ => Cow::Borrowed(target),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(rewrite: &Rewrite, target: &str) -> String {
        let target = rewrite.apply(target.as_bytes()).into_owned();
        String::from_utf8(target).expect("text")
    }

    #[test]
    fn a_prefix_goes_only_at_a_segments_end() {
        let rewrite = Rewrite {
            strip_prefix: Some("/v1".to_owned()),
            path: None,
        };
        for (target, server) in [
            ("/v1/x?y", "/x?y"),
            ("/v1", "/"),
            ("/v1?a", "/?a"),
            ("/v10/x", "/v10/x"),
        ] {
            assert_eq!(applied(&rewrite, target), server);
        }
    }

    #[test]
    fn a_beginning_goes_however_it_is_spelled_and_nothing_climbs_out() {
        let stripped = Rewrite {
            strip_prefix: Some("/v1".to_owned()),
            path: None,
        };
        let put = Rewrite {
            strip_prefix: None,
            path: Some(NewPath {
                start: "/files/".to_owned(),
                behind: Some("/v1/".to_owned()),
            }),
        };
        for (target, rest) in [
            ("/v1/a%2Fb?c", "a%2Fb?c"),
            ("/v1/a;b//c", "a;b//c"),
            ("/%761/a%2Fb?%2F", "a/b?%2F"),
            ("//v1/a", "a"),
            ("/v1/../v1/a", "a"),
            ("/v1/a/%2e%2e/b", "b"),
        ] {
            assert_eq!(applied(&stripped, target), format!("/{rest}"), "{target}");
            assert_eq!(applied(&put, target), format!("/files/{rest}"), "{target}");
        }
        assert_eq!(applied(&Rewrite::default(), "//v1/../a"), "//v1/../a");
    }

    #[test]
    fn a_path_becomes_another_and_keeps_what_is_behind_it() {
        let to = |start: &str, behind: Option<&str>, strip: Option<&str>| Rewrite {
            strip_prefix: strip.map(str::to_owned),
            path: Some(NewPath {
                start: start.to_owned(),
                behind: behind.map(str::to_owned),
            }),
        };
        let files = to("/files/", Some("/photos/"), None);
        assert_eq!(applied(&files, "/photos/a/b.jpg?w=1"), "/files/a/b.jpg?w=1");
        assert_eq!(applied(&files, "/photos/"), "/files/");
        assert_eq!(applied(&files, "/photos?x"), "/files/?x");
        let stripped = to("/files/", Some("/"), Some("/v1"));
        assert_eq!(applied(&stripped, "/v1/a?b"), "/files/a?b");
        assert_eq!(applied(&stripped, "/v1"), "/files/");
        let fixed = to("/maintenance.html", None, None);
        assert_eq!(applied(&fixed, "/any/thing?x=1"), "/maintenance.html?x=1");
    }
}
