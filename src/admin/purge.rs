//! `POST /purge`: taking back what the caches hold.

use crate::cache::{Force, Name};
use crate::runtime::{Foundation, Purged, Runtime};
use lakh_image::Source;
use serde::{Deserialize, Serialize};

/// What to take back, by exactly one of its names. As JSON, the request's body.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// One URL with all its variants and renditions: `http://shop.example/photos/1.jpg`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// All below a folder: `shop.example/photos/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Of the origin's `Surrogate-Key` or `Cache-Tag`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Make it stale instead of gone.
    #[serde(default)]
    pub soft: bool,
}

impl Order {
    /// Carries it out, or says what is wrong with it.
    pub async fn run(&self, runtime: &Runtime, foundation: &Foundation) -> Result<Purged, String> {
        let force = if self.soft { Force::Soft } else { Force::Hard };
        Ok(foundation.purge(&self.names(runtime)?, force).await)
    }

    fn names(&self, runtime: &Runtime) -> Result<Vec<Name>, String> {
        match (&self.url, &self.prefix, &self.host, &self.tag) {
            (Some(url), None, None, None) => names_of(runtime, url),
            (None, Some(prefix), None, None) => {
                let (host, folder) = host_and_target(prefix)?;
                if !folder.ends_with('/') {
                    return Err(format!("`prefix` names a folder: write `{prefix}/`"));
                }
                Ok(folders(runtime, host, folder))
            }
            (None, None, Some(host), None) if !host.is_empty() => Ok(vec![Name::host(host)]),
            (None, None, None, Some(tag)) if !tag.is_empty() => Ok(vec![Name::tag(tag.as_bytes())]),
            _ => Err("write one of `url`, `prefix`, `host` and `tag`".into()),
        }
    }
}

/// What a URL's objects are called. Routes differ in which query parameters count, and in whether
/// they make pictures.
pub fn names_of(runtime: &Runtime, url: &str) -> Result<Vec<Name>, String> {
    let (host, target) = host_and_target(url)?;
    let routes = runtime.routes.iter();
    let mut names: Vec<_> = routes
        .flat_map(|route| route.stored_as(host, target))
        .collect();
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// All below a folder; where renditions are asked for below it, also all below their sources'.
fn folders(runtime: &Runtime, host: &str, folder: &str) -> Vec<Name> {
    let mut names = vec![Name::folder(host, folder.as_bytes())];
    // Any name there will do to ask where its source would be.
    let rendition = format!("{folder}a");
    let images = runtime.images.as_ref();
    let source = images.and_then(|images| images.source_of(host, &rendition));
    let (host, target) = match &source {
        Some(Source::Here(target)) => (host, target),
        Some(Source::Elsewhere(place)) => (&*place.host, &place.target),
        None => return names,
    };
    if let Some(folder) = target.strip_suffix('a').filter(|f| f.ends_with('/')) {
        names.push(Name::folder(host, folder.as_bytes()));
    }
    names
}

/// `http://host/path?query` or `host/path?query`.
fn host_and_target(url: &str) -> Result<(&str, &str), String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    match rest.find('/') {
        Some(slash) if slash > 0 => Ok(rest.split_at(slash)),
        _ => Err(format!(
            "`{url}` has no host and path; write shop.example/path"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_and_a_path_are_needed() {
        assert_eq!(host_and_target("http://h:81/a?b"), Ok(("h:81", "/a?b")));
        assert_eq!(host_and_target("h/"), Ok(("h", "/")));
        for wrong in ["", "h", "/a", "http://h", "http:///a"] {
            assert!(host_and_target(wrong).is_err(), "{wrong}");
        }
    }
}
