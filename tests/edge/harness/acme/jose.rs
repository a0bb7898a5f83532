//! Who has signed a request, and what it says: RFC 7515, as RFC 8555 §6.2 narrows it.

use super::said::Problem;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::hmac;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// An account's.
#[derive(Clone, PartialEq)]
pub struct Key {
    x: String,
    y: String,
}

pub struct Jws {
    header: Value,
    signed: String,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// By whom, and what.
pub struct Asked {
    pub account: usize,
    pub payload: Value,
}

impl Key {
    fn of(jwk: &Value) -> Result<Key, Problem> {
        let is_known = jwk["kty"] == "EC" && jwk["crv"] == "P-256" && jwk.get("d").is_none();
        let part = |name: &str| jwk[name].as_str().map(str::to_owned);
        let key = part("x").zip(part("y")).filter(|_| is_known);
        let (x, y) = key.ok_or_else(|| malformed("no key of P-256"))?;
        Ok(Key { x, y })
    }

    fn point(&self) -> Vec<u8> {
        let half = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
        [vec![4], half(&self.x), half(&self.y)].concat()
    }

    /// RFC 7638.
    pub fn thumbprint(&self) -> String {
        let Key { x, y } = self;
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        URL_SAFE_NO_PAD.encode(Sha256::digest(canonical))
    }
}

impl Jws {
    pub fn read(body: &[u8]) -> Result<Jws, Problem> {
        let jws = serde_json::from_slice(body).map_err(|_| malformed("no JSON"))?;
        Jws::of(&jws)
    }

    fn of(jws: &Value) -> Result<Jws, Problem> {
        let part = |name: &str| jws[name].as_str().ok_or_else(|| malformed("no JWS"));
        let (protected, payload) = (part("protected")?, part("payload")?);
        let header = serde_json::from_slice(&bytes(&jws["protected"])?);
        Ok(Jws {
            header: header.map_err(|_| malformed("no header"))?,
            signed: format!("{protected}.{payload}"),
            payload: bytes(&jws["payload"])?,
            signature: bytes(&jws["signature"])?,
        })
    }

    pub fn nonce(&self) -> &str {
        self.header["nonce"].as_str().unwrap_or_default()
    }

    pub fn url(&self) -> &str {
        self.header["url"].as_str().unwrap_or_default()
    }

    /// Of who has no account yet.
    pub fn key(&self) -> Result<Key, Problem> {
        match self.header.get("kid") {
            None => Key::of(&self.header["jwk"]),
            Some(_) => Err(malformed("a key, or a name for one")),
        }
    }

    pub fn account(&self, base: &str) -> Result<usize, Problem> {
        let id = self.header["kid"]
            .as_str()
            .filter(|_| self.header.get("jwk").is_none());
        let number = id.and_then(|id| {
            id.strip_prefix(base)?
                .strip_prefix("/account/")?
                .parse()
                .ok()
        });
        number.ok_or_else(|| malformed("no account's URL"))
    }

    /// Null where nothing is asked but to see: RFC 8555 §6.3.
    pub fn payload(&self, key: &Key) -> Result<Value, Problem> {
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point());
        let verified = public.verify(self.signed.as_bytes(), &self.signature);
        if self.header["alg"] != "ES256" || verified.is_err() {
            return Err(Problem(
                400,
                "unauthorized",
                "the signature is not good".into(),
            ));
        }
        match self.payload.is_empty() {
            true => Ok(Value::Null),
            false => serde_json::from_slice(&self.payload).map_err(|_| malformed("no payload")),
        }
    }
}

/// That who holds `hmac` has said that this is their account's key: RFC 8555 §7.3.4.
pub fn check_binding(binding: &Value, hmac: &[u8], key: &Key, url: &str) -> Result<(), Problem> {
    let refused = |why: &str| Problem(403, "externalAccountRequired", why.into());
    let jws = Jws::of(binding).map_err(|_| refused("nobody vouches for you"))?;
    let by = hmac::Key::new(hmac::HMAC_SHA256, hmac);
    let is_signed = hmac::verify(&by, jws.signed.as_bytes(), &jws.signature).is_ok();
    let header = json!({"alg": "HS256", "kid": "known", "url": url});
    let bound = serde_json::from_slice(&jws.payload).unwrap_or_default();
    match is_signed && jws.header == header && Key::of(&bound)? == *key {
        true => Ok(()),
        false => Err(refused("that is somebody else")),
    }
}

pub fn bytes(text: &Value) -> Result<Vec<u8>, Problem> {
    let decoded = text
        .as_str()
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    decoded.ok_or_else(|| malformed("no base64url"))
}

fn malformed(why: &str) -> Problem {
    Problem(400, "malformed", why.into())
}
