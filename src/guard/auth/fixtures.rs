//! Keys made for a test, and tokens signed with them by another implementation than ours.
//! Shared by unit tests, tests of the real edge, and benchmarks.
#![allow(dead_code, reason = "not all of them need all of it")]

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::{EncodingKey, Header, encode};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use rsa::RsaPrivateKey;
use rsa::pkcs1::EncodeRsaPrivateKey;
use rsa::pkcs8::{EncodePublicKey, LineEnding};
use rsa::traits::PublicKeyParts;
use serde_json::{Value, json};
use std::sync::LazyLock;

pub const SECRET: &[u8] = b"this is a secret of a test, and no other";

pub struct Signer {
    pub algorithm: jsonwebtoken::Algorithm,
    key: EncodingKey,
    pub pem: String,
    /// Without a `kid`.
    pub jwk: Value,
}

/// Making one takes a second.
pub static RSA: LazyLock<Signer> = LazyLock::new(|| {
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2048).expect("a key");
    let der = key.to_pkcs1_der().expect("a key has a form");
    let public = key.to_public_key();
    let number = |n: &rsa::BigUint| URL_SAFE_NO_PAD.encode(n.to_bytes_be());
    Signer {
        algorithm: jsonwebtoken::Algorithm::RS256,
        key: EncodingKey::from_rsa_der(der.as_bytes()),
        pem: public.to_public_key_pem(LineEnding::LF).expect("a form"),
        jwk: json!({"kty": "RSA", "n": number(public.n()), "e": number(public.e())}),
    }
});

pub fn ec() -> Signer {
    let (how, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
    let der = EcdsaKeyPair::generate_pkcs8(how, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(how, der.as_ref(), &random).expect("its own form");
    let point = pair.public_key().as_ref();
    let half = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    Signer {
        algorithm: jsonwebtoken::Algorithm::ES256,
        key: EncodingKey::from_ec_der(der.as_ref()),
        pem: pem(
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
            point,
        ),
        jwk: json!({"kty": "EC", "crv": "P-256", "x": half(1..33), "y": half(33..65)}),
    }
}

pub fn ed() -> Signer {
    let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
    let pair = Ed25519KeyPair::from_pkcs8(der.as_ref()).expect("its own form");
    let point = pair.public_key().as_ref();
    Signer {
        algorithm: jsonwebtoken::Algorithm::EdDSA,
        key: EncodingKey::from_ed_der(der.as_ref()),
        pem: pem(b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", point),
        jwk: json!({"kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point)}),
    }
}

impl Signer {
    pub fn sign(&self, kid: Option<&str>, claims: &Value) -> String {
        let header = Header {
            kid: kid.map(str::to_owned),
            ..Header::new(self.algorithm)
        };
        encode(&header, claims, &self.key).expect("claims can be signed")
    }

    pub fn jwk(&self, kid: &str) -> Value {
        let mut jwk = self.jwk.clone();
        jwk["kid"] = kid.into();
        jwk
    }
}

/// A token signed with this secret.
pub fn hs256(secret: &[u8], claims: &Value) -> String {
    let key = EncodingKey::from_secret(secret);
    encode(&Header::default(), claims, &key).expect("claims can be signed")
}

/// A token whose header says what it likes, with a signature by HMAC.
pub fn with_header(header: &Value, secret: &[u8], claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret);
    let signature = ring::hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn pem(prefix: &[u8], point: &[u8]) -> String {
    let der = STANDARD.encode([prefix, point].concat());
    format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
}
