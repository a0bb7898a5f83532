//! Bearer tokens: JWT, HS256, valid for thirty days. RFC 7519.

use crate::domain::user::User;
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
        encode(&Header::default(), &claims, &self.signing).expect("the key fits the algorithm")
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user::{Class, Role};

    #[test]
    fn a_token_names_its_user_only_under_its_own_secret() {
        let ada = User {
            id: 7,
            name: "Ada".into(),
            email: "ada@example.org".into(),
            role: Role::Staff,
            class: Class::Warehouse,
        };
        let tokens = Tokens::new(b"one");
        let token = tokens.issue(&ada, "s");
        let bearer = Bearer {
            user: 7,
            session: "s".into(),
        };
        assert_eq!(tokens.bearer(&token), Some(bearer));
        assert_eq!(Tokens::new(b"two").bearer(&token), None);
        assert_eq!(tokens.bearer(&token[..token.len() - 2]), None);
    }

    #[test]
    fn an_expired_or_foreign_token_names_nobody() {
        let tokens = Tokens::new(b"one");
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
