//! What a stored body is in other codings: each made once, when a client first wants it, and kept
//! as long as the body is. An object whose head was brought up to date shares it.

use crate::coding::Coding;
use bytes::Bytes;
use http::HeaderValue;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::SetOnce;

#[derive(Default)]
pub struct Encoded([Slot; Coding::ALL.len()]);

#[derive(Default)]
struct Slot {
    /// Somebody makes it, or has.
    started: AtomicBool,
    /// None in it: it came out no smaller.
    made: SetOnce<Option<Made>>,
}

/// A body in one coding.
#[derive(Debug)]
pub struct Made {
    pub body: Bytes,
    /// The entity tag, where it differs from the plain body's.
    pub tag: Option<HeaderValue>,
}

impl Encoded {
    /// The outer None: it is not there yet. The inner: it will never be, being no smaller.
    pub fn get(&self, coding: Coding) -> Option<Option<&Made>> {
        self.slot(coding).made.get().map(Option::as_ref)
    }

    /// True for the one caller that is to make it.
    pub fn start(&self, coding: Coding) -> bool {
        !self.slot(coding).started.swap(true, Ordering::AcqRel)
    }

    pub fn is_started(&self, coding: Coding) -> bool {
        self.slot(coding).started.load(Ordering::Acquire)
    }

    /// It could not be made now; the next who wants it starts again.
    pub fn give_up(&self, coding: Coding) {
        self.slot(coding).started.store(false, Ordering::Release);
    }

    /// By the one that started.
    pub fn set(&self, coding: Coding, made: Option<Made>) {
        let set = self.slot(coding).made.set(made);
        debug_assert!(set.is_ok(), "only one makes it");
    }

    /// Waits for whoever makes it.
    pub async fn wait(&self, coding: Coding) -> Option<&Made> {
        self.slot(coding).made.wait().await.as_ref()
    }

    /// Bytes kept.
    pub fn size(&self) -> usize {
        let made = self.0.iter().filter_map(|slot| slot.made.get()?.as_ref());
        made.map(|made| made.body.len()).sum()
    }

    fn slot(&self, coding: Coding) -> &Slot {
        &self.0[coding as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_makes_it_and_all_get_it() {
        let encoded = Encoded::default();
        assert!(encoded.start(Coding::Gzip) && !encoded.start(Coding::Gzip));
        assert!(encoded.start(Coding::Brotli));
        encoded.give_up(Coding::Brotli);
        assert!(!encoded.is_started(Coding::Brotli) && encoded.is_started(Coding::Gzip));
        assert!(encoded.get(Coding::Gzip).is_none());
        let made = Made {
            body: Bytes::from_static(b"coded"),
            tag: None,
        };
        encoded.set(Coding::Gzip, Some(made));
        encoded.set(Coding::Zstd, None);
        let got = encoded.wait(Coding::Gzip).await.expect("it is smaller");
        assert_eq!(got.body, "coded");
        assert!(encoded.get(Coding::Zstd).expect("it is known").is_none());
        assert_eq!(encoded.size(), 5);
    }
}
