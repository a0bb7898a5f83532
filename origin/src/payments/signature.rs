//! `Webhook-Signature: t=SECONDS,v1=HEX`: HMAC-SHA-256 of the time, a dot and the body. The time is signed
//! too, so that what was overheard can't be told again for ever. RFC 2104.

use crate::domain::clock::Moment;
use crate::domain::random::in_hex;
use hmac::{Hmac, Mac};
use sha2::Sha256;

pub const SIGNATURE: &str = "webhook-signature";

const TOLERANCE_SECONDS: i64 = 300;

pub fn sign(secret: &[u8], body: &[u8], now: Moment) -> String {
    let seconds = now.seconds();
    let tag = mac(secret, seconds, body).finalize().into_bytes();
    format!("t={seconds},v1={}", in_hex(&tag))
}

pub fn is_signed(secret: &[u8], signature: &str, body: &[u8], now: Moment) -> bool {
    let Some((time, tag)) = parts(signature) else {
        return false;
    };
    let is_recent = now.seconds().abs_diff(time) <= TOLERANCE_SECONDS.unsigned_abs();
    // In constant time.
    is_recent && mac(secret, time, body).verify_slice(&tag).is_ok()
}

fn mac(secret: &[u8], seconds: i64, body: &[u8]) -> Hmac<Sha256> {
    Hmac::<Sha256>::new_from_slice(secret)
        .expect("keys may have any length")
        .chain_update(format!("{seconds}."))
        .chain_update(body)
}

fn parts(signature: &str) -> Option<(i64, Vec<u8>)> {
    let (time, tag) = signature.split_once(',')?;
    let time = time.trim().strip_prefix("t=")?.parse().ok()?;
    let tag = tag.trim().strip_prefix("v1=")?;
    let byte = |pair: &[u8]| {
        let digits = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(digits, 16).ok()
    };
    let tag: Option<Vec<u8>> = tag.as_bytes().chunks(2).map(byte).collect();
    Some((time, tag?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_these_bytes_from_that_secret_and_lately() {
        let (now, body) = (Moment(1_780_000_000_000), b"{}");
        let signature = sign(b"secret", body, now);
        let holds = |secret: &[u8], body: &[u8], later| {
            is_signed(secret, &signature, body, now.plus_seconds(later))
        };
        assert!(holds(b"secret", body, 0));
        assert!(holds(b"secret", body, 300));
        assert!(!holds(b"secret", body, 301));
        assert!(!holds(b"secret", body, -301));
        assert!(!holds(b"another", body, 0));
        assert!(!holds(b"secret", b"{} ", 0));
        for nonsense in ["", "t=1", "t=x,v1=00", "v1=00,t=1", "t=1780000000,v1=ä"] {
            assert!(!is_signed(b"secret", nonsense, body, now), "{nonsense}");
        }
    }
}
