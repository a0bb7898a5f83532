//! How a rendition is made: on a task of its own, so that it survives the client that asked first,
//! and so that what comes too late for its clients is stored for the next ones.

use super::super::context::Context;
use super::super::request::Request;
use super::super::resource::unix_now;
use super::obtain::{Obtain, Obtained};
use super::render::{Rendering, Unmade};
use super::work::Goal;
use super::{Edge, Work};
use crate::cache::{Filling, Found, Key, Object, Opening, Recalled, Use, usable};
use crate::error::Kind;
use crate::upstream::Response;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_TYPE, DATE, ETAG, EXPIRES, LAST_MODIFIED, VARY,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use lakh_image::{OnFull, Output, Rendition};
use pingora::http::RequestHeader;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Starts the making of a rendition. `awaited`: for clients, and not ahead of them.
pub fn make(
    edge: &Arc<Edge>,
    request: &RequestHeader,
    ctx: &Context,
    work: Work,
    filling: Filling<Response>,
    awaited: bool,
) -> pingora::Result<()> {
    let obtain = Obtain::new(edge, request, ctx, &work.source)?;
    let making = Making {
        edge: edge.clone(),
        root: work.source.root(&Request::of(request), ctx),
        work,
        filling: Arc::new(filling),
        awaited,
    };
    tokio::spawn(making.run(obtain));
    Ok(())
}

struct Making {
    edge: Arc<Edge>,
    work: Work,
    /// What it hangs on in slower tiers.
    root: Key,
    filling: Arc<Filling<Response>>,
    awaited: bool,
}

impl Making {
    async fn run(self, obtain: Obtain) {
        if let Some((object, tier)) = self.recall().await {
            self.filling.open(Opening::Recalled(object, tier));
            return obtain.abandon();
        }
        let max_source = self.work.images.settings.max_source;
        match obtain.run(max_source).await {
            Obtained::Object(original) if original.status == StatusCode::OK => {
                self.render(&original).await;
            }
            // Redirects are not followed, and what else a stranger says is not passed on.
            Obtained::Object(_) | Obtained::NotShared(_) if self.is_strangers() => {
                self.filling.open(Opening::Failed(Kind::BadAnswer));
            }
            Obtained::Object(answer) => self.filling.open(Opening::Object(answer)),
            Obtained::Failed(kind) => self.filling.open(Opening::Failed(kind)),
            Obtained::NotShared(response) => self.filling.open(Opening::Private(response)),
        }
    }

    /// What a slower tier has of it, fresh.
    async fn recall(&self) -> Option<(Arc<Object>, &'static str)> {
        let (zone, now) = (self.work.source.zone(), unix_now());
        let recalled = zone
            .recall_made(&self.root, &self.work.goal.key, now)
            .await?;
        let Recalled { object, key, tier } = recalled;
        let is_fresh = usable(&object.freshness, &HeaderMap::new(), now) == Use::Fresh;
        if !is_fresh || self.filling.is_outdated() {
            return None;
        }
        let object = Arc::new(*object);
        zone.promote(key, object.clone());
        Some((object, tier))
    }

    /// Answers all who wait; what takes longer than they should wait goes on without them.
    async fn render(&self, original: &Arc<Object>) {
        let (images, goal) = (&self.work.images, &self.work.goal);
        if images.late.has(&goal.key) {
            let opening = self.meanwhile(original).await;
            return self.filling.open(opening);
        }
        let mut rendering = self.begin(goal, original).await;
        match timeout(self.patience(), rendering.outcome()).await {
            Ok(outcome) => {
                let opening = self.settle(outcome, original);
                self.filling.open(opening);
            }
            Err(_) => {
                let _late = images.late.add(&goal.key);
                self.edge.foundation.image_metrics.late.inc();
                rendering.keep();
                let opening = self.meanwhile(original).await;
                self.filling.open(opening);
                let outcome = rendering.outcome().await;
                self.settle(outcome, original);
            }
        }
    }

    async fn begin(&self, goal: &Goal, original: &Object) -> Rendering {
        let awaited = self.awaited.then(|| self.filling.clone());
        Rendering::begin(
            &self.edge,
            &self.work,
            &goal.plan,
            original.body.clone(),
            awaited,
        )
        .await
    }

    /// How long clients wait.
    fn patience(&self) -> Duration {
        let settings = &self.work.images.settings;
        match self.work.sooner() {
            Some(_) => settings.avif_wait.min(settings.max_time),
            None => settings.max_time,
        }
    }

    /// For those who would wait too long: WebP, where that is what they would have had without AVIF.
    async fn meanwhile(&self, original: &Arc<Object>) -> Opening<Response> {
        let Some(goal) = self.work.sooner() else {
            return self.stand_in(original);
        };
        let object = match self.stored(&goal.key) {
            Some(object) => object,
            None => {
                let mut rendering = self.begin(&goal, original).await;
                let outcome = timeout(self.work.images.settings.max_time, rendering.outcome());
                match outcome.await {
                    Ok(Ok(made)) => self.keep(made, &goal, original),
                    _ => return self.stand_in(original),
                }
            }
        };
        self.edge.foundation.image_metrics.stand_in("webp");
        Opening::Recalled(for_now(&object), "webp")
    }

    /// Stores what was made, or what is to be had instead.
    fn settle(
        &self,
        outcome: Result<Rendition, Unmade>,
        original: &Arc<Object>,
    ) -> Opening<Response> {
        match outcome {
            Ok(made) => Opening::Object(self.keep(made, &self.work.goal, original)),
            Err(unmade) => self.unmade(unmade, original),
        }
    }

    fn keep(&self, made: Rendition, goal: &Goal, original: &Object) -> Arc<Object> {
        let work = &self.work;
        let object = Arc::new(object_of(made, work, original));
        let zone = work.source.zone();
        if zone.store(goal.key.clone(), object.clone()) {
            zone.hand_down_made(&self.root, &goal.key, &object);
        }
        let shelf = &work.images.shelf;
        shelf.add(&work.source.key, &goal.plan, &goal.key);
        object
    }

    fn unmade(&self, unmade: Unmade, original: &Arc<Object>) -> Opening<Response> {
        match unmade {
            Unmade::Full => self.stand_in(original),
            // If somebody came meanwhile, better too little than nothing.
            Unmade::Forsaken => match self.filling.abandon() {
                true => Opening::Failed(Kind::Full),
                false => self.stand_in(original),
            },
            // What can't be made now can't be later either.
            Unmade::Failed if self.may_show() => {
                let zone = self.work.source.zone();
                zone.store(self.work.goal.key.clone(), original.clone());
                Opening::Object(original.clone())
            }
            Unmade::Failed => Opening::Failed(Kind::NotAPicture),
        }
    }

    /// What there is instead, for now.
    fn stand_in(&self, original: &Arc<Object>) -> Opening<Response> {
        let (opening, with) = match self.instead(original) {
            Some((object, with)) => (Opening::Recalled(for_now(&object), with), with),
            None => (Opening::Failed(Kind::Full), "nothing"),
        };
        self.edge.foundation.image_metrics.stand_in(with);
        opening
    }

    fn instead(&self, original: &Arc<Object>) -> Option<(Arc<Object>, &'static str)> {
        let settings = &self.work.images.settings;
        if settings.on_full == OnFull::Nearest
            && let Some(nearest) = self.nearest()
        {
            return Some((nearest, "nearest"));
        }
        let is_small = original.body.len() as u64 <= settings.small_original;
        let may = settings.on_full != OnFull::Refuse && is_small && self.may_show();
        may.then(|| (original.clone(), "original"))
    }

    /// The rendition that is stored and differs only in size, and in that the least.
    fn nearest(&self) -> Option<Arc<Object>> {
        let shelf = &self.work.images.shelf;
        let known = shelf.nearest(&self.work.source.key, &self.work.goal.plan);
        known.iter().find_map(|key| self.stored(key))
    }

    fn stored(&self, key: &Key) -> Option<Arc<Object>> {
        let (zone, now) = (self.work.source.zone(), unix_now());
        match zone.find(key.clone(), &HeaderMap::new(), now) {
            Found::Object { object, .. } if object.freshness.ttl(now) > 0 => Some(object),
            _ => None,
        }
    }

    fn is_strangers(&self) -> bool {
        self.work.source.elsewhere.is_some()
    }

    /// The original must not stand in for a picture with a watermark, nor for words about it; and
    /// what a stranger has may be anything.
    fn may_show(&self) -> bool {
        let plan = &self.work.goal.plan;
        !self.is_strangers()
            && plan.watermark().is_none()
            && !matches!(plan.output(), Output::Info | Output::Placeholder)
    }
}

/// Not for other caches: the next time it will be there.
fn for_now(object: &Object) -> Arc<Object> {
    let mut headers = object.headers.clone();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Arc::new(Object::new(
        object.status,
        headers,
        object.body.clone(),
        object.freshness,
        object.names.clone(),
    ))
}

/// As fresh as its source. The tag is of the bytes: equal renditions are equal everywhere.
fn object_of(made: Rendition, work: &Work, original: &Object) -> Object {
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
    ] {
        headers.remove(name);
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(made.content_type));
    let digest = Sha256::digest(&made.bytes);
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
    Object::new(
        StatusCode::OK,
        headers,
        made.bytes.into(),
        original.freshness,
        original.names.clone(),
    )
}
