//! Bearer tokens: JWT, HS256 or EdDSA, valid for thirty days. RFC 7519. A process takes only those of the
//! kind that it issues.

use crate::domain::user::User;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, get_current_timestamp,
};
use serde::{Deserialize, Serialize};
use std::error::Error;

const ISSUER: &str = "lakh-origin";
const LIFETIME: u64 = 30 * 24 * 60 * 60;

pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    header: Header,
    rules: Validation,
    published: JwkSet,
}

/// What a token says, for those who verify it: this application, and the edge in front of it.
#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    /// The session, which may have ended since.
    sid: String,
    role: String,
    class: String,
    iat: u64,
    exp: u64,
}

/// Who a token was issued to, and in which session.
#[derive(Debug, PartialEq)]
pub struct Bearer {
    pub user: i64,
    pub session: String,
}

impl Tokens {
    /// Signed by a secret that whoever checks them needs too. `secret` is text of any length.
    pub fn by_secret(secret: &[u8]) -> Self {
        Self {
            signing: EncodingKey::from_secret(secret),
            checking: DecodingKey::from_secret(secret),
            header: Header::new(Algorithm::HS256),
            rules: rules(Algorithm::HS256),
            published: JwkSet { keys: Vec::new() },
        }
    }

    /// Signed by Ed25519: whoever checks them needs only what is published. `seed` is 64 hexadecimal digits.
    /// RFC 8037.
    pub fn by_key(seed: &[u8]) -> Result<Self, Box<dyn Error>> {
        let signing = EncodingKey::from_ed_der(&pkcs8(seed)?);
        let mut key = Jwk::from_encoding_key(&signing, Algorithm::EdDSA)?;
        key.common.public_key_use = Some(PublicKeyUse::Signature);
        let name = key.thumbprint(ThumbprintHash::SHA256)?;
        key.common.key_id = Some(name.clone());
        let header = Header {
            kid: Some(name),
            ..Header::new(Algorithm::EdDSA)
        };
        Ok(Self {
            checking: DecodingKey::from_jwk(&key)?,
            signing,
            header,
            rules: rules(Algorithm::EdDSA),
            published: JwkSet { keys: vec![key] },
        })
    }

    /// The keys that are nobody's secret. RFC 7517 §5.
    pub fn published(&self) -> &JwkSet {
        &self.published
    }

    pub fn issue(&self, user: &User, session: &str) -> String {
        let now = get_current_timestamp();
        let claims = Claims {
            iss: ISSUER.into(),
            sub: user.id.to_string(),
            sid: session.into(),
            role: user.role.to_string(),
            class: user.class.to_string(),
            iat: now,
            exp: now + LIFETIME,
        };
        encode(&self.header, &claims, &self.signing).expect("the key fits the algorithm")
    }

    /// Whose it is, if the token is ours, whole and not expired.
    pub fn bearer(&self, token: &str) -> Option<Bearer> {
        let claims = decode::<Claims>(token, &self.checking, &self.rules)
            .ok()?
            .claims;
        Some(Bearer {
            user: claims.sub.parse().ok()?,
            session: claims.sid,
        })
    }
}

fn rules(algorithm: Algorithm) -> Validation {
    let mut rules = Validation::new(algorithm);
    rules.set_issuer(&[ISSUER]);
    rules.set_required_spec_claims(&["exp", "iss", "sub"]);
    rules
}

/// The private key as its standard wraps it. RFC 8410 §7.
fn pkcs8(seed: &[u8]) -> Result<Vec<u8>, Box<dyn Error>> {
    const WRAPPING: &[u8] = b"\x30\x2e\x02\x01\x00\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";
    let digits = std::str::from_utf8(seed)?;
    if digits.len() != 64 || !digits.is_ascii() {
        return Err("the key's file must have 64 hexadecimal digits".into());
    }
    let mut key = WRAPPING.to_vec();
    for at in (0..64).step_by(2) {
        key.push(u8::from_str_radix(&digits[at..at + 2], 16)?);
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user::{Class, Role};

    fn ada() -> User {
        User {
            id: 7,
            name: "Ada".into(),
            email: "ada@example.org".into(),
            role: Role::Staff,
            class: Class::Warehouse,
        }
    }

    fn by_key(digit: &str) -> Tokens {
        Tokens::by_key(digit.repeat(64).as_bytes()).expect("a good seed")
    }

    #[test]
    fn a_token_names_its_user_only_under_its_own_secret_or_key() {
        let pairs = [
            [Tokens::by_secret(b"one"), Tokens::by_secret(b"two")],
            [by_key("1"), by_key("2")],
            [by_key("1"), Tokens::by_secret("1".repeat(64).as_bytes())],
        ];
        for [own, other] in pairs {
            let token = own.issue(&ada(), "s");
            let bearer = Bearer {
                user: 7,
                session: "s".into(),
            };
            assert_eq!(own.bearer(&token), Some(bearer));
            assert_eq!(other.bearer(&token), None);
            assert_eq!(own.bearer(&token[..token.len() - 2]), None);
        }
    }

    #[test]
    fn what_is_published_lets_others_check_and_tells_no_secret() {
        let tokens = by_key("1");
        let token = tokens.issue(&ada(), "s");
        let header = jsonwebtoken::decode_header(&token).expect("a header");
        let key = tokens.published().find(&header.kid.expect("a name"));
        let key = DecodingKey::from_jwk(key.expect("it is published")).expect("a key");
        assert!(decode::<Claims>(&token, &key, &rules(Algorithm::EdDSA)).is_ok());
        let published = serde_json::to_value(tokens.published()).expect("JSON");
        assert!(published["keys"][0].get("d").is_none());
        assert!(Tokens::by_secret(b"one").published().keys.is_empty());
        assert!(Tokens::by_key(b"short").is_err());
    }

    #[test]
    fn an_expired_or_foreign_token_names_nobody() {
        let tokens = Tokens::by_secret(b"one");
        let is_good = |iss: &str, exp: u64| {
            let claims = Claims {
                iss: iss.into(),
                sub: "7".into(),
                sid: "s".into(),
                role: "member".into(),
                class: "personal".into(),
                iat: 0,
                exp,
            };
            let token = encode(&Header::default(), &claims, &tokens.signing).expect("a token");
            tokens.bearer(&token).is_some()
        };
        assert!(is_good(ISSUER, u64::MAX / 2));
        assert!(!is_good(ISSUER, 1));
        assert!(!is_good("somebody", u64::MAX / 2));
    }
}
