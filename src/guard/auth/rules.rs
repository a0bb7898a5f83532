//! What a verified token must say to be taken now: RFC 7519 §4.1. Times are Unix seconds.

use super::flaw::Flaw;
use super::settings::JwtSettings;
use crate::guard::claims::Value;
use serde_json::{Map, Value as Json};

/// Claims kept of one token; more are left out, in the order of their names.
const MOST_CLAIMS: usize = 64;

/// When a token is good: from the first second to the last, leeway included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    pub from: u64,
    pub until: u64,
}

impl Validity {
    pub fn check(&self, now: u64) -> Result<(), Flaw> {
        match now {
            now if now > self.until => Err(Flaw::Expired),
            now if now < self.from => Err(Flaw::NotYet),
            _ => Ok(()),
        }
    }
}

/// Who issued it, whom for, and until when.
pub fn check(payload: &Map<String, Json>, rules: &JwtSettings) -> Result<Validity, Flaw> {
    let leeway = rules.leeway.as_secs();
    let expires = payload.get("exp").ok_or(Flaw::NoExpiry)?;
    let expires = date(expires).ok_or(Flaw::Malformed)?;
    let from = match payload.get("nbf") {
        Some(from) => date(from).ok_or(Flaw::Malformed)?,
        None => 0,
    };
    if !rules.issuers.is_empty() && !names_one(payload.get("iss"), &rules.issuers) {
        return Err(Flaw::Issuer);
    }
    // §4.1.3: who is not among those it is for must refuse it, and so must who has no name.
    let has_audience = payload.contains_key("aud");
    if (has_audience || !rules.audiences.is_empty())
        && !names_one(payload.get("aud"), &rules.audiences)
    {
        return Err(Flaw::Audience);
    }
    Ok(Validity {
        from: from.saturating_sub(leeway),
        // `exp` itself is too late, §4.1.4.
        until: expires.saturating_sub(1).saturating_add(leeway),
    })
}

/// NumericDate: seconds, perhaps with a fraction, which is dropped.
fn date(value: &Json) -> Option<u64> {
    match value.as_u64() {
        Some(seconds) => Some(seconds),
        None => {
            let seconds = value.as_f64()?;
            // What is before 1970 has passed.
            seconds.is_finite().then_some(seconds.max(0.0) as u64)
        }
    }
}

/// A text, or a list with one, that is among those known.
fn names_one(value: Option<&Json>, known: &[String]) -> bool {
    let is_known = |value: &Json| value.as_str().is_some_and(|v| known.iter().any(|k| k == v));
    match value {
        Some(Json::Array(values)) => values.iter().any(is_known),
        Some(value) => is_known(value),
        None => false,
    }
}

/// Texts, numbers, switches and lists of them. What has a structure of its own is left out.
pub fn claims(payload: Map<String, Json>) -> Vec<(String, Value)> {
    let value = |(name, value): (String, Json)| {
        let value = match value {
            Json::Array(members) => {
                let members: Option<Vec<String>> = members.into_iter().map(text).collect();
                Value::List(members?)
            }
            value => Value::One(text(value)?),
        };
        Some((name, value))
    };
    payload
        .into_iter()
        .filter_map(value)
        .take(MOST_CLAIMS)
        .collect()
}

fn text(value: Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text),
        Json::Number(number) => Some(number.to_string()),
        Json::Bool(switch) => Some(switch.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::auth::settings::{Algorithm, KeySource};
    use proptest::prelude::*;
    use serde_json::json;
    use std::time::Duration;

    fn rules(issuers: &[&str], audiences: &[&str], leeway: u64) -> JwtSettings {
        let owned = |names: &[&str]| names.iter().map(|n| n.to_string()).collect();
        JwtSettings {
            keys: KeySource::SecretFile("secret".into()),
            algorithms: vec![Algorithm::Hs256],
            issuers: owned(issuers),
            audiences: owned(audiences),
            leeway: Duration::from_secs(leeway),
            cookie: None,
        }
    }

    fn checked(payload: Json, rules: &JwtSettings) -> Result<Validity, Flaw> {
        match payload {
            Json::Object(payload) => check(&payload, rules),
            other => panic!("{other} is an object"),
        }
    }

    #[test]
    fn a_token_without_an_end_is_refused() {
        let plain = rules(&[], &[], 0);
        assert_eq!(checked(json!({}), &plain), Err(Flaw::NoExpiry));
        for odd in [json!("9"), json!(null), json!([9]), json!({})] {
            assert_eq!(checked(json!({"exp": odd}), &plain), Err(Flaw::Malformed));
            let nbf = json!({"exp": 9, "nbf": odd});
            assert_eq!(checked(nbf, &plain), Err(Flaw::Malformed));
        }
        let end = |exp| checked(json!({"exp": exp}), &plain).map(|v| v.until);
        assert_eq!(end(json!(10)), Ok(9));
        assert_eq!(end(json!(10.9)), Ok(9));
        assert_eq!(end(json!(-5)), Ok(0));
        assert_eq!(end(json!(u64::MAX)), Ok(u64::MAX - 1));
    }

    #[test]
    fn issuer_and_audience_are_asked_for_where_they_are_set() {
        let both = rules(&["a", "b"], &["shop"], 0);
        let with = |iss: Json, aud: Json| checked(json!({"exp": 9, "iss": iss, "aud": aud}), &both);
        assert!(with(json!("b"), json!("shop")).is_ok());
        assert!(with(json!("a"), json!(["x", "shop"])).is_ok());
        assert_eq!(with(json!("c"), json!("shop")), Err(Flaw::Issuer));
        assert_eq!(with(json!("a"), json!(["x"])), Err(Flaw::Audience));
        assert_eq!(with(json!("a"), json!(7)), Err(Flaw::Audience));
        assert_eq!(checked(json!({"exp": 9}), &both), Err(Flaw::Issuer));
        let for_somebody = json!({"exp": 9, "aud": "shop"});
        assert_eq!(
            checked(for_somebody, &rules(&[], &[], 0)),
            Err(Flaw::Audience)
        );
    }

    #[test]
    fn claims_are_texts_and_lists_of_them() {
        let payload = json!({
            "sub": "ann", "n": 1.5, "admin": true, "roles": ["a", 2],
            "address": {"city": "x"}, "deep": [["x"]], "none": null,
        });
        let Json::Object(payload) = payload else {
            panic!("an object")
        };
        let names: Vec<_> = claims(payload).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["admin", "n", "roles", "sub"]);
    }

    proptest! {
        #[test]
        fn a_token_is_good_from_nbf_until_before_exp_give_or_take_the_leeway(
            exp in 0u64..1000, nbf in 0u64..1000, leeway in 0u64..50, now in 0u64..1100,
        ) {
            let validity = checked(json!({"exp": exp, "nbf": nbf}), &rules(&[], &[], leeway));
            let good = validity.is_ok_and(|validity| validity.check(now).is_ok());
            let expected = now < exp.max(1) + leeway && now + leeway >= nbf;
            prop_assert_eq!(good, expected);
        }
    }
}
