//! Bearer tokens: JWT, HS256, valid for thirty days. RFC 7519.

use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode, get_current_timestamp,
};
use serde::{Deserialize, Serialize};

const ISSUER: &str = "lakh-origin";
const LIFETIME: u64 = 30 * 24 * 60 * 60;

pub struct Tokens {
    signing: EncodingKey,
    checking: DecodingKey,
    rules: Validation,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    iat: u64,
    exp: u64,
}

impl Tokens {
    pub fn new(secret: &[u8]) -> Self {
        let mut rules = Validation::new(Algorithm::HS256);
        rules.set_issuer(&[ISSUER]);
        rules.set_required_spec_claims(&["exp", "iss", "sub"]);
        Self {
            signing: EncodingKey::from_secret(secret),
            checking: DecodingKey::from_secret(secret),
            rules,
        }
    }

    pub fn issue(&self, user: i64) -> String {
        let now = get_current_timestamp();
        let claims = Claims {
            iss: ISSUER.into(),
            sub: user.to_string(),
            iat: now,
            exp: now + LIFETIME,
        };
        encode(&Header::default(), &claims, &self.signing).expect("the key fits the algorithm")
    }

    /// The user, if the token is ours, whole and not expired.
    pub fn user(&self, token: &str) -> Option<i64> {
        let token = decode::<Claims>(token, &self.checking, &self.rules).ok()?;
        token.claims.sub.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_its_user_only_under_its_own_secret() {
        let tokens = Tokens::new(b"one");
        let token = tokens.issue(7);
        assert_eq!(tokens.user(&token), Some(7));
        assert_eq!(Tokens::new(b"two").user(&token), None);
        assert_eq!(tokens.user(&token[..token.len() - 2]), None);
    }

    #[test]
    fn an_expired_or_foreign_token_names_nobody() {
        let tokens = Tokens::new(b"one");
        let with = |iss: &str, exp: u64| {
            let claims = Claims {
                iss: iss.into(),
                sub: "7".into(),
                iat: 0,
                exp,
            };
            encode(&Header::default(), &claims, &tokens.signing).expect("a token")
        };
        assert_eq!(tokens.user(&with(ISSUER, u64::MAX / 2)), Some(7));
        assert_eq!(tokens.user(&with(ISSUER, 1)), None);
        assert_eq!(tokens.user(&with("somebody", u64::MAX / 2)), None);
    }
}
