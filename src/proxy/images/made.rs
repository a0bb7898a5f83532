//! Renditions as objects: as they are stored, and as slower tiers have them.

use super::super::resource::unix_now;
use super::Work;
use crate::cache::{Key, Names, Object, Recalled, Use, Zone, usable};
use crate::upstream::Response;
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// Of the source's bytes: RFC 9530, and what came before it.
const DIGESTS: [HeaderName; 4] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("repr-digest"),
    HeaderName::from_static("digest"),
    HeaderName::from_static("content-md5"),
];

/// What a slower tier has of it, fresh.
pub async fn recall(work: &Work, root: &Key, fields: &HeaderMap) -> Option<Recalled> {
    let (zone, now) = (work.source.zone(), unix_now());
    let what = work.images.settings.key(&work.goal.plan);
    let recalled = zone.recall_made(root, &work.source.key, &what, fields, now);
    let recalled = recalled.await?;
    let stands = usable(&recalled.object.freshness, &HeaderMap::new(), now);
    (stands == Use::Fresh).then_some(recalled)
}

/// Memory has it then.
pub fn promote(zone: &Zone<Response>, recalled: Recalled) -> (Arc<Object>, &'static str) {
    let object = Arc::new(*recalled.object);
    zone.promote(recalled.key, object.clone());
    (object, recalled.tier)
}

/// By its type or its text.
pub fn is_svg(headers: &HeaderMap, body: &[u8]) -> bool {
    let says_so = |media: &HeaderValue| {
        let start = media.as_bytes().get(..9);
        start.is_some_and(|start| start.eq_ignore_ascii_case(b"image/svg"))
    };
    headers.get(CONTENT_TYPE).is_some_and(says_so) || lakh_image::is_svg(body)
}

/// What stands in until the rendition is there. Not for other caches.
pub fn for_now(object: &Object, as_what: &'static str) -> Arc<Object> {
    let mut headers = object.headers.clone();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Arc::new(object.standing_in(as_what, headers))
}

/// What stands in as long as it is fresh: no rendition can be made of it.
pub fn as_it_is(original: &Object) -> Arc<Object> {
    Arc::new(original.standing_in("original", original.headers.clone()))
}

/// As fresh as its source. The tag is of the bytes: equal renditions are equal everywhere.
pub fn object_of(
    media: HeaderValue,
    body: Bytes,
    work: &Work,
    original: &Object,
    names: Names,
) -> Object {
    let mut headers = original.headers.clone();
    if work.source.elsewhere.is_some() {
        headers = [CACHE_CONTROL, DATE, EXPIRES]
            .into_iter()
            .filter_map(|name| Some((name.clone(), original.headers.get(name)?.clone())))
            .collect();
    }
    for name in [
        CONTENT_LENGTH,
        CONTENT_ENCODING,
        CONTENT_DISPOSITION,
        LAST_MODIFIED,
        ACCEPT_RANGES,
    ]
    .iter()
    .chain(&DIGESTS)
    {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, media);
    let digest = Sha256::digest(&body);
    let tag: String = digest[..12]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    headers.insert(
        ETAG,
        HeaderValue::try_from(format!("\"{tag}\"")).expect("hexadecimal digits in quotes"),
    );
    for name in work.vary.names() {
        headers.append(VARY, HeaderValue::from_static(name));
    }
    Object::new(StatusCode::OK, headers, body, original.freshness, names)
}
