//! What goes out where there is no rendition: the original, the nearest one, or nothing, by policy; and
//! never what must not be seen.

use super::super::fill;
use super::super::resource::unix_now;
use super::made::{as_it_is, for_now, is_svg};
use super::make::Making;
use super::render::Unmade;
use crate::cache::{Found, Key, Object, Opening};
use crate::error::Kind;
use crate::upstream::Response;
use http::HeaderMap;
use lakh_image::OnFull;
use std::sync::Arc;

impl Making {
    pub fn unmade(&self, unmade: Unmade, original: &Arc<Object>) -> Opening<Response> {
        match unmade {
            Unmade::Full => self.stand_in(Some(original)),
            // If somebody came meanwhile, better too little than nothing.
            Unmade::Forsaken => match self.filling.abandon() {
                true => Opening::Failed(Kind::Full),
                false => self.stand_in(Some(original)),
            },
            // What can't be made now can't be later either.
            Unmade::Failed if self.may_show(original) => {
                let is_stored = self.is_stored(original);
                let original = match self.work.as_it_is {
                    // Others get a rendition.
                    true => for_now(original, "original"),
                    false => as_it_is(original),
                };
                if self.kept && is_stored {
                    let zone = self.work.source.zone();
                    zone.store(self.work.goal.key.clone(), original.clone());
                }
                Opening::Object(original)
            }
            Unmade::Failed => Opening::Failed(Kind::NotAPicture),
        }
    }

    /// What nobody else keeps is not kept either: it takes room of those who work on it.
    fn is_stored(&self, original: &Arc<Object>) -> bool {
        let (zone, key) = (self.work.source.zone(), self.work.variant.clone());
        let found = zone.look(key, &HeaderMap::new(), unix_now());
        matches!(found, Found::Object { object, .. } if Arc::ptr_eq(&object, original))
    }

    /// What there is instead, for now.
    pub fn stand_in(&self, original: Option<&Arc<Object>>) -> Opening<Response> {
        let (opening, with) = match self.instead(original) {
            Some((object, with)) => (Opening::Object(for_now(&object, with)), with),
            None => (Opening::Failed(Kind::Full), "nothing"),
        };
        self.edge.foundation.image_metrics.stand_in(with);
        opening
    }

    fn instead(&self, original: Option<&Arc<Object>>) -> Option<(Arc<Object>, &'static str)> {
        let settings = &self.work.images.settings;
        if self.kept
            && settings.on_full == OnFull::Nearest
            && let Some(nearest) = self.nearest()
        {
            return Some((nearest, "nearest"));
        }
        let original = original.filter(|original| {
            self.may_stand_in(original.body.len() as u64) && self.may_show(original)
        });
        Some((original?.clone(), "original"))
    }

    /// Whether an original of so many bytes may be what is sent while no more can be made.
    fn may_stand_in(&self, bytes: u64) -> bool {
        let settings = &self.work.images.settings;
        settings.on_full != OnFull::Refuse && bytes <= settings.small_original
    }

    /// The rendition that is stored and differs only in size, and in that the least.
    fn nearest(&self) -> Option<Arc<Object>> {
        let shelf = &self.work.images.shelf;
        let known = shelf.nearest(&self.work.variant, &self.work.goal.plan);
        known.iter().find_map(|key| self.stored(key))
    }

    pub fn stored(&self, key: &Key) -> Option<Arc<Object>> {
        let (zone, now) = (self.work.source.zone(), unix_now());
        match zone.find(key.clone(), &HeaderMap::new(), now) {
            Found::Object { object, .. } if object.freshness.ttl(now) > 0 => Some(object),
            _ => None,
        }
    }

    /// SVG may hold scripts, and who asks for a picture runs none.
    fn may_show(&self, original: &Object) -> bool {
        self.work.may_be_original() && !is_svg(&original.headers, &original.body)
    }

    /// There was no room for it.
    pub fn unread(&self, answer: Response) -> Opening<Response> {
        let length = fill::content_length(&answer.head().headers);
        let may = length.is_some_and(|length| self.may_stand_in(length));
        if !may || !self.work.may_be_original() {
            return self.stand_in(None);
        }
        self.edge.foundation.image_metrics.stand_in("original");
        Opening::Private(Some(answer))
    }
}
