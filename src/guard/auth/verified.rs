//! Tokens that were verified, so that each is verified once and not at every request.

use super::rules::Validity;
use crate::guard::claims::Claims;
use moka::sync::Cache;
use ring::digest::{SHA256, digest};
use std::sync::Arc;

/// Tokens kept, and their bytes.
const TOKENS: u64 = 100_000;
const MEMORY: u64 = 64 << 20;

/// What an entry costs beside its claims: moka's node and queues, the key, the counters.
const OVERHEAD: usize = 256;

/// A token's SHA-256: nobody can make another with the same, so one that is known is verified.
pub type Fingerprint = [u8; 32];

pub struct Verified(Cache<Fingerprint, Entry>);

#[derive(Clone)]
struct Entry {
    claims: Arc<Claims>,
    validity: Validity,
    /// Of the keys that it was verified with.
    generation: u64,
}

pub fn fingerprint(bytes: &[u8]) -> Fingerprint {
    let hash = digest(&SHA256, bytes);
    hash.as_ref().try_into().expect("SHA-256 has 32 bytes")
}

impl Verified {
    pub fn new() -> Verified {
        let least = MEMORY.div_ceil(TOKENS);
        let weight = move |_: &Fingerprint, entry: &Entry| {
            let bytes = (entry.claims.size() + OVERHEAD) as u64;
            u32::try_from(bytes.max(least)).unwrap_or(u32::MAX)
        };
        Verified(
            Cache::builder()
                .max_capacity(MEMORY)
                .weigher(weight)
                .build(),
        )
    }

    /// What the token says, if it was verified with these keys and is good now.
    pub fn get(&self, token: &Fingerprint, generation: u64, now: u64) -> Option<Arc<Claims>> {
        let entry = self.0.get(token)?;
        if entry.generation != generation || entry.validity.check(now).is_err() {
            self.0.invalidate(token);
            return None;
        }
        Some(entry.claims)
    }

    pub fn keep(
        &self,
        token: Fingerprint,
        claims: Arc<Claims>,
        validity: Validity,
        generation: u64,
    ) {
        let entry = Entry {
            claims,
            validity,
            generation,
        };
        self.0.insert(token, entry);
    }

    pub fn count(&self) -> u64 {
        self.0.entry_count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_verified_outlives_neither_its_end_nor_its_keys() {
        let (verified, claims) = (Verified::new(), Arc::new(Claims::new([("sub", "ann")])));
        let validity = Validity { from: 5, until: 9 };
        let token = fingerprint(b"token");
        let keep = || verified.keep(token, claims.clone(), validity, 3);
        for (generation, now, known) in [(3, 5, true), (3, 9, true), (3, 10, false), (4, 5, false)]
        {
            keep();
            let found = verified.get(&token, generation, now);
            assert_eq!(found.is_some(), known, "{generation} {now}");
        }
        keep();
        assert!(verified.get(&fingerprint(b"token2"), 3, 5).is_none());
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for() {
        let (verified, claims) = (Verified::new(), Arc::new(Claims::default()));
        let always = Validity {
            from: 0,
            until: u64::MAX,
        };
        for n in 0..120_000u32 {
            let token = fingerprint(&n.to_be_bytes());
            verified.keep(token, claims.clone(), always, 0);
        }
        verified.0.run_pending_tasks();
        assert!(verified.count() <= TOKENS, "{}", verified.count());
        assert!(verified.count() > TOKENS / 2, "{}", verified.count());
    }
}
