//! What is stored of a rendition, and what is known of that: whether it can stay when its source has been
//! asked about.

use super::super::resource::unix_now;
use super::made::object_of;
use super::make::Making;
use super::render::Rendering;
use super::work::Goal;
use crate::cache::{Found, Object, Opening};
use crate::runtime::{MadeOf, Validators};
use crate::upstream::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG};
use http::{HeaderMap, HeaderValue};
use lakh_image::Rendition;
use std::sync::Arc;

impl Making {
    pub fn keep(&self, made: Rendition, goal: &Goal, original: &Object) -> Arc<Object> {
        let media = HeaderValue::from_static(made.content_type);
        let object = self.object_of(media, made.bytes.into(), original);
        self.store(Arc::new(object), goal, original)
    }

    fn object_of(&self, media: HeaderValue, body: Bytes, original: &Object) -> Object {
        let names = original.names.also(&self.folders);
        object_of(media, body, &self.work, original, names)
    }

    /// What is stored, if it was made of the same: as fresh as its source is now.
    pub async fn renewed(&self, original: &Arc<Object>) -> Option<Arc<Object>> {
        let (work, goal) = (&self.work, &self.work.goal);
        let MadeOf { source, tag } = work.images.shelf.made_of(&work.variant, &goal.key)?;
        self.look_through(original).await;
        let (zone, fields) = (work.source.zone(), HeaderMap::new());
        let Found::Object { object, .. } = zone.look(goal.key.clone(), &fields, unix_now()) else {
            return None;
        };
        let is_same = Validators::of(original)? == source && object.headers.get(ETAG)? == tag;
        let media = object.headers.get(CONTENT_TYPE)?.clone();
        let renewed = || self.object_of(media, object.body.clone(), original);
        is_same.then(|| self.store(Arc::new(renewed()), goal, original))
    }

    /// Stores it, if it may be.
    fn store(&self, object: Arc<Object>, goal: &Goal, original: &Object) -> Arc<Object> {
        let work = &self.work;
        if !self.kept {
            return object;
        }
        let (zone, source) = (work.source.zone(), &work.source.key);
        if zone.store(goal.key.clone(), object.clone()) {
            let (vary, what) = (self.vary(original), work.images.settings.key(&goal.plan));
            zone.hand_down_made(&self.root, source, &vary, &self.fields, &what, &object);
            self.note(&object, goal, original);
        }
        object
    }

    /// What it was made of, as far as that is known.
    fn note(&self, object: &Object, goal: &Goal, original: &Object) {
        let validators = Validators::of(original).zip(object.headers.get(ETAG).cloned());
        let made_of = validators.map(|(source, tag)| MadeOf { source, tag });
        let shelf = &self.work.images.shelf;
        shelf.add(&self.work.variant, &goal.plan, &goal.key, made_of);
    }

    /// What it was made of is known by its bytes, once these have been looked through.
    pub async fn learn(
        &self,
        made: Option<Arc<Object>>,
        rendering: &mut Rendering,
        original: &Object,
    ) {
        if let Some(object) = made.filter(|_| self.kept) {
            rendering.ended().await;
            self.note(&object, &self.work.goal, original);
        }
    }

    /// Where its server doesn't say which version it is. When more waits than may, nobody looks.
    async fn look_through(&self, original: &Arc<Object>) {
        if Validators::of(original).is_none() {
            let object = original.clone();
            let looked = self.work.images.pool.run(move || object.digest());
            let _ = looked.await;
        }
    }
}

/// The rendition, if that is what has come of it.
pub fn made_in(opening: &Opening<Response>) -> Option<Arc<Object>> {
    match opening {
        Opening::Object(object) if object.instead.is_none() => Some(object.clone()),
        _ => None,
    }
}
