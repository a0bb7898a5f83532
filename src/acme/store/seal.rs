//! What lies where others can read it: whoever has Redis has no key of ours.

use crate::acme::settings::Secrets;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, Salt};
use ring::rand::{SecureRandom, SystemRandom};

/// The first key seals, all open.
pub struct Seal(Vec<LessSafeKey>);

impl Seal {
    pub fn new(secrets: &Secrets) -> Seal {
        let keys = secrets.0.iter().map(|secret| {
            let from = Salt::new(HKDF_SHA256, b"lakh acme storage").extract(secret);
            let key = from.expand(&[b"key"], &AES_256_GCM);
            let key = key.expect("shorter than HKDF can give");
            LessSafeKey::new(UnboundKey::from(key))
        });
        Seal(keys.collect())
    }

    /// Nonce, what is sealed, tag. It opens under the same name alone.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Vec<u8> {
        let mut nonce = [0; NONCE_LEN];
        let random = SystemRandom::new().fill(&mut nonce);
        random.expect("the system gives randomness, as each handshake needs it");
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(plain);
        let (nonce, name) = (Nonce::assume_unique_for_key(nonce), Aad::from(name));
        let tag = self.0[0].seal_in_place_separate_tag(nonce, name, &mut sealed[NONCE_LEN..]);
        let tag = tag.expect("a record is shorter than what AES-GCM can seal");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// None: it is not as it was sealed, or with another key.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        self.0.iter().find_map(|key| {
            let mut plain = sealed.to_vec();
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let length = key.open_in_place(nonce, Aad::from(name), &mut plain);
            let length = length.ok()?.len();
            plain.truncate(length);
            Some(plain)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seal(bytes: &[u8]) -> Seal {
        Seal::new(&Secrets(bytes.iter().map(|b| [*b; 32].into()).collect()))
    }

    #[test]
    fn the_first_key_seals_and_all_open() {
        let sealed = seal(&[1]).seal("name", b"key");
        assert_eq!(
            seal(&[2, 1]).open("name", &sealed).as_deref(),
            Some(&b"key"[..])
        );
        assert_eq!(seal(&[2]).open("name", &sealed), None);
        assert_eq!(seal(&[1]).open("other", &sealed), None);
        let again = seal(&[2, 1]).seal("name", b"key");
        assert_eq!(seal(&[1]).open("name", &again), None);
    }

    proptest! {
        #[test]
        fn what_was_changed_is_not_opened(
            plain in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
            bit in 0..8u8,
        ) {
            let mut sealed = seal(&[1]).seal("name", &plain);
            prop_assert_eq!(seal(&[1]).open("name", &sealed), Some(plain));
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            prop_assert_eq!(seal(&[1]).open("name", &sealed), None);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(seal(&[1]).open("name", &bytes), None);
        }
    }
}
