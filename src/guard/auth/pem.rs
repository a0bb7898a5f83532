//! Public keys in files: PEM (RFC 7468) around SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), or around
//! RSA's own form (RFC 8017 §A.1.1).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// Big-endian, without leading zeros.
    Rsa {
        n: Vec<u8>,
        e: Vec<u8>,
    },
    /// An uncompressed point.
    P256(Vec<u8>),
    Ed25519(Vec<u8>),
}

const SEQUENCE: u8 = 0x30;
const BIT_STRING: u8 = 0x03;
const INTEGER: u8 = 0x02;

/// AlgorithmIdentifiers, whole: RFC 3279 §2.3.1, RFC 5480 §2.1.1, RFC 8410 §3.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
const P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

/// What is wrong completes a sentence that begins with the file.
pub fn read(text: &str) -> Result<PublicKey, String> {
    let wrong = || "is no public key in PEM (-----BEGIN PUBLIC KEY-----)".to_owned();
    let (_, rest) = text.split_once("-----BEGIN ").ok_or_else(wrong)?;
    let (label, rest) = rest.split_once("-----").ok_or_else(wrong)?;
    if label.contains("PRIVATE") {
        return Err("is a private key; only its public half belongs here".to_owned());
    }
    let (body, _) = rest.split_once("-----END ").ok_or_else(wrong)?;
    let body: Vec<u8> = body.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let der = STANDARD.decode(body).map_err(|_| wrong())?;
    match label {
        "PUBLIC KEY" => spki(&der),
        "RSA PUBLIC KEY" => rsa(&der),
        _ => None,
    }
    .ok_or_else(|| format!("is a {label} that is neither RSA's, nor of P-256, nor of Ed25519"))
}

fn spki(der: &[u8]) -> Option<PublicKey> {
    let (info, []) = element(der, SEQUENCE)? else {
        return None;
    };
    let (algorithm, rest) = element(info, SEQUENCE)?;
    let (key, []) = element(rest, BIT_STRING)? else {
        return None;
    };
    // All bits of the last byte are used.
    let key = key.strip_prefix(&[0])?;
    match algorithm {
        RSA => rsa(key),
        P256 => Some(PublicKey::P256(key.to_vec())),
        ED25519 => Some(PublicKey::Ed25519(key.to_vec())),
        _ => None,
    }
}

fn rsa(der: &[u8]) -> Option<PublicKey> {
    let (numbers, []) = element(der, SEQUENCE)? else {
        return None;
    };
    let (n, rest) = element(numbers, INTEGER)?;
    let (e, []) = element(rest, INTEGER)? else {
        return None;
    };
    let (n, e) = (without_zeros(n), without_zeros(e));
    Some(PublicKey::Rsa { n, e })
}

pub fn without_zeros(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    number[zeros..].to_vec()
}

/// The contents of the first element, which is of this kind, and what follows it.
fn element(der: &[u8], kind: u8) -> Option<(&[u8], &[u8])> {
    let (length, rest) = match *der {
        [its, length @ 0..=0x7f, ref rest @ ..] if its == kind => (usize::from(length), rest),
        [its, 0x81, length, ref rest @ ..] if its == kind => (usize::from(length), rest),
        [its, 0x82, high, low, ref rest @ ..] if its == kind => {
            (usize::from(u16::from_be_bytes([high, low])), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_public_key_is_said() {
        let said = |text: &str| read(text).expect_err("no key");
        assert!(said("secret").contains("is no public key in PEM"));
        let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
        assert!(said(private).contains("is a private key"));
        let odd = "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----";
        assert!(said(odd).contains("neither RSA's"));
    }

    #[test]
    fn keys_of_openssl_are_read() {
        let ed = "-----BEGIN PUBLIC KEY-----\n\
                  MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
                  -----END PUBLIC KEY-----\n";
        assert!(matches!(read(ed), Ok(PublicKey::Ed25519(point)) if point.len() == 32));
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_key_or_not(der in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = (spki(&der), rsa(&der));
        }
    }
}
