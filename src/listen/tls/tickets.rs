//! Session tickets: what clients keep of a handshake, so that the next one costs a tenth. RFC 8446
//! §2.2, RFC 5077.
//!
//! Whoever has the keys can read what was said under them, so they don't live long: this process's
//! own are made anew every few hours; those of a fleet are in a file that its operators change.

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Salt};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::server::ProducesTickets;
use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// What a key is derived from.
pub type Secret = Box<[u8]>;

/// Bytes of one, at least.
const SECRET: usize = 32;
/// How long a key of our own makes tickets; as long again it opens them.
const ROTATION: Duration = Duration::from_secs(6 * 3600);
/// What clients are told.
const LIFETIME: u32 = 12 * 3600;
const NAME: usize = 16;

/// Makes and opens the tickets of a listener.
#[derive(Default)]
pub struct Tickets {
    keys: ArcSwap<Vec<Key>>,
}

struct Key {
    /// Says which key a ticket was made with.
    name: [u8; NAME],
    aead: LessSafeKey,
}

impl Tickets {
    /// The first makes tickets, all open them. `scope`: what whoever resumes has proven; tickets of
    /// another one are not taken, because a resumed client is not asked again.
    pub fn set(&self, secrets: &[Secret], scope: &[u8]) {
        let keys = secrets.iter().map(|secret| Key::derive(secret, scope));
        self.keys.store(keys.collect::<Vec<_>>().into());
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.keys.load().first()?.seal(plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, sealed) = ticket.split_first_chunk::<NAME>()?;
        let keys = self.keys.load();
        keys.iter().find(|key| key.name == *name)?.open(sealed)
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tickets").finish_non_exhaustive()
    }
}

impl Key {
    fn derive(secret: &[u8], scope: &[u8]) -> Key {
        let from = Salt::new(HKDF_SHA256, b"lakh session tickets").extract(secret);
        let asked = "shorter than HKDF can give";
        let mut name = [0; NAME];
        let of_name = [b"name", scope];
        let okm = from.expand(&of_name, NameLength).expect(asked);
        okm.fill(&mut name).expect(asked);
        let of_key = [b"key", scope];
        let key = from.expand(&of_key, &AES_256_GCM).expect(asked);
        Key {
            name,
            aead: LessSafeKey::new(UnboundKey::from(key)),
        }
    }

    /// Name, nonce, what is sealed, tag.
    fn seal(&self, plain: &[u8]) -> Option<Vec<u8>> {
        // A counter would tell how many there were.
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let tag_length = AES_256_GCM.tag_len();
        let mut ticket = Vec::with_capacity(NAME + NONCE_LEN + plain.len() + tag_length);
        ticket.extend_from_slice(&self.name);
        ticket.extend_from_slice(&nonce);
        ticket.extend_from_slice(plain);
        let (nonce, name) = (Nonce::assume_unique_for_key(nonce), Aad::from(self.name));
        let sealed = &mut ticket[NAME + NONCE_LEN..];
        let tag = self.aead.seal_in_place_separate_tag(nonce, name, sealed);
        ticket.extend_from_slice(tag.ok()?.as_ref());
        Some(ticket)
    }

    /// What follows the name.
    fn open(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>()?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut plain = sealed.to_vec();
        let opened = self
            .aead
            .open_in_place(nonce, Aad::from(self.name), &mut plain);
        let length = opened.ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

struct NameLength;

impl KeyType for NameLength {
    fn len(&self) -> usize {
        NAME
    }
}

/// Of this process alone, for listeners without a file. One for all of them, so that a reload keeps
/// clients' tickets.
pub struct OwnSecrets(Mutex<Own>);

struct Own {
    secrets: Vec<Secret>,
    since: Instant,
}

impl OwnSecrets {
    pub fn new(now: Instant) -> OwnSecrets {
        OwnSecrets(Mutex::new(Own {
            secrets: vec![random()],
            since: now,
        }))
    }

    /// Those that hold at `now`, the one that makes tickets first.
    pub fn at(&self, now: Instant) -> Vec<Secret> {
        let mut own = self.0.lock().expect("no code panics while it holds this");
        if now.saturating_duration_since(own.since) >= ROTATION {
            own.secrets.truncate(1);
            own.secrets.insert(0, random());
            own.since = now;
        }
        own.secrets.clone()
    }
}

fn random() -> Secret {
    let mut secret = [0; SECRET];
    SystemRandom::new()
        .fill(&mut secret)
        .expect("the system gives randomness, as each handshake needs it");
    secret.into()
}

/// A secret a line, in base64; `#` begins a comment. The file is a fleet's.
pub fn ticket_secrets(file: &Path) -> Result<Vec<Secret>, String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|why| format!("`{shown}` cannot be read: {why}; write a file's path"))?;
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or(""));
    let lines = lines.map(str::trim).enumerate();
    let read = |(number, line): (usize, &str)| match STANDARD.decode(line) {
        Ok(secret) if secret.len() >= SECRET => Ok(secret.into()),
        _ => Err(format!(
            "`{shown}` line {}: not {SECRET} bytes or more in base64; write what \
             `openssl rand -base64 48` gives",
            number + 1
        )),
    };
    let lines = lines.filter(|(_, line)| !line.is_empty());
    let secrets: Vec<Secret> = lines.map(read).collect::<Result<_, String>>()?;
    match secrets.is_empty() {
        true => Err(format!(
            "`{shown}` has no key in it; put a line into it that `openssl rand -base64 48` gives"
        )),
        false => Ok(secrets),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tickets(secrets: &[u8], scope: &[u8]) -> Tickets {
        let tickets = Tickets::default();
        let secret = |byte: &u8| [*byte; SECRET].into();
        tickets.set(&secrets.iter().map(secret).collect::<Vec<_>>(), scope);
        tickets
    }

    #[test]
    fn the_first_key_makes_tickets_and_all_open_them() {
        let (old, new) = (tickets(&[1], b"s"), tickets(&[2, 1], b"s"));
        let ticket = old.encrypt(b"session").expect("a ticket");
        assert_eq!(new.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        let ticket = new.encrypt(b"session").expect("a ticket");
        assert_eq!(old.decrypt(&ticket), None);
    }

    #[test]
    fn what_was_proven_elsewhere_proves_nothing_here() {
        let ticket = tickets(&[1], b"nobody").encrypt(b"session");
        let ticket = ticket.expect("a ticket");
        assert_eq!(tickets(&[1], b"members").decrypt(&ticket), None);
    }

    #[test]
    fn own_secrets_make_tickets_for_six_hours_and_open_them_for_twelve() {
        let begin = Instant::now();
        let own = OwnSecrets::new(begin);
        let first = own.at(begin);
        assert_eq!(first.len(), 1);
        assert_eq!(own.at(begin + ROTATION / 2), first);
        let second = own.at(begin + ROTATION);
        assert_eq!(second[1..], first[..]);
        let third = own.at(begin + 2 * ROTATION);
        assert_eq!(third[1], second[0]);
        assert_eq!(third.len(), 2);
    }

    proptest! {
        #[test]
        fn a_ticket_that_was_changed_is_none(
            plain in proptest::collection::vec(any::<u8>(), 0..200),
            at in any::<proptest::sample::Index>(),
            bit in 0..8u8,
        ) {
            let tickets = tickets(&[1], b"");
            let mut ticket = tickets.encrypt(&plain).expect("a ticket");
            prop_assert_eq!(tickets.decrypt(&ticket), Some(plain));
            let at = at.index(ticket.len());
            ticket[at] ^= 1 << bit;
            prop_assert_eq!(tickets.decrypt(&ticket), None);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(tickets(&[1], b"").decrypt(&bytes), None);
        }
    }
}
