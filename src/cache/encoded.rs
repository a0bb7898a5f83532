//! What a stored object is in content codings: each made once, when a client first wants it, and
//! kept as long as the object is. A coded form is an object like any other, with a head and a body
//! of its own; it is found, weighed, purged and thrown out with the plain one that it is kept in.

use super::object::Object;
use crate::coding::Coding;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::SetOnce;

#[derive(Debug, Default)]
pub struct Encoded([Slot; Coding::ALL.len()]);

#[derive(Debug, Default)]
struct Slot {
    /// Somebody makes it, or has.
    started: AtomicBool,
    /// None in it: it came out no smaller.
    made: SetOnce<Option<Arc<Object>>>,
}

impl Encoded {
    /// The outer None: it is not there yet. The inner: it will never be, being no smaller.
    pub fn get(&self, coding: Coding) -> Option<Option<&Arc<Object>>> {
        self.slot(coding).made.get().map(Option::as_ref)
    }

    /// True for the one caller that is to make it.
    pub fn start(&self, coding: Coding) -> bool {
        !self.slot(coding).started.swap(true, Ordering::AcqRel)
    }

    /// It could not be made now; the next who wants it starts again.
    pub fn give_up(&self, coding: Coding) {
        self.slot(coding).started.store(false, Ordering::Release);
    }

    /// By the one that started.
    pub fn set(&self, coding: Coding, made: Option<Arc<Object>>) {
        let set = self.slot(coding).made.set(made);
        debug_assert!(set.is_ok(), "only one makes it");
    }

    /// Waits for whoever makes it.
    pub async fn wait(&self, coding: Coding) -> Option<&Arc<Object>> {
        self.slot(coding).made.wait().await.as_ref()
    }

    /// What there is, made over: for an object of the same body and another head. What is being
    /// made now is not taken along.
    pub fn renewed(&self, renew: impl Fn(Coding, &Object) -> Object) -> Encoded {
        let renewed = Encoded::default();
        for coding in Coding::ALL {
            if let Some(made) = self.get(coding) {
                renewed.start(coding);
                renewed.set(coding, made.map(|object| Arc::new(renew(coding, object))));
            }
        }
        renewed
    }

    /// What has been made.
    pub fn made(&self) -> impl Iterator<Item = &Object> {
        let made = self.0.iter().filter_map(|slot| slot.made.get()?.as_ref());
        made.map(|object| &**object)
    }

    fn slot(&self, coding: Coding) -> &Slot {
        &self.0[coding as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::store::tests::object;

    #[tokio::test]
    async fn one_makes_it_and_all_get_it() {
        let encoded = Encoded::default();
        assert!(encoded.start(Coding::Gzip) && !encoded.start(Coding::Gzip));
        assert!(encoded.start(Coding::Brotli));
        encoded.give_up(Coding::Brotli);
        assert!(encoded.start(Coding::Brotli));
        assert!(encoded.get(Coding::Gzip).is_none());
        encoded.set(Coding::Gzip, Some(object(b"coded")));
        encoded.set(Coding::Zstd, None);
        let got = encoded.wait(Coding::Gzip).await.expect("it is smaller");
        assert_eq!(got.body, "coded");
        assert!(encoded.get(Coding::Zstd).expect("it is known").is_none());
    }

    #[test]
    fn what_is_made_lasts_longer_than_a_head() {
        let encoded = Encoded::default();
        encoded.set(Coding::Gzip, Some(object(b"coded")));
        encoded.set(Coding::Zstd, None);
        encoded.start(Coding::Brotli);
        let renewed = encoded.renewed(|coding, old| {
            Object::new(
                old.status,
                http::HeaderMap::from_iter([(
                    http::header::CONTENT_ENCODING,
                    http::HeaderValue::from_static(coding.token()),
                )]),
                old.body.clone(),
                old.freshness,
                old.names.clone(),
            )
        });
        let made: Vec<_> = renewed.made().collect();
        assert_eq!((made.len(), &made[0].body[..]), (1, &b"coded"[..]));
        assert_eq!(made[0].headers["content-encoding"], "gzip");
        assert!(renewed.get(Coding::Zstd).is_some() && !renewed.start(Coding::Zstd));
        assert!(renewed.start(Coding::Brotli));
    }
}
