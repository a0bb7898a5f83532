//! A key set as its issuer publishes it: RFC 7517 §5, RFC 7518 §6, RFC 8037 §2.

use super::keys::Key;
use super::pem::{PublicKey, without_zeros};
use super::settings::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Keys of one set; those beyond are not read.
const MOST: usize = 64;

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// Its keys for signatures of the three public kinds. Others are passed over, as §5 asks; a set
/// without any is an error, and so is what is no set.
pub fn read(document: &[u8]) -> Result<Vec<Key>, String> {
    let set: Set =
        serde_json::from_slice(document).map_err(|e| format!("it is no key set: {e}"))?;
    let keys = set.keys.into_iter().take(MOST).filter_map(key);
    let keys: Vec<Key> = keys.collect();
    match keys.is_empty() {
        true => Err("it has no key for RS256, ES256 or EdDSA".to_owned()),
        false => Ok(keys),
    }
}

fn key(jwk: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(jwk).ok()?;
    let verifies = |ops: &Vec<String>| ops.iter().any(|op| op == "verify");
    let for_signatures = jwk
        .purpose
        .as_deref()
        .is_none_or(|purpose| purpose == "sig")
        && jwk.key_ops.as_ref().is_none_or(verifies);
    if !for_signatures {
        return None;
    }
    let bytes = |text: &Option<String>| URL_SAFE_NO_PAD.decode(text.as_ref()?).ok();
    let public = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("RSA", _) => PublicKey::Rsa {
            n: without_zeros(&bytes(&jwk.n)?),
            e: without_zeros(&bytes(&jwk.e)?),
        },
        ("EC", Some("P-256")) => {
            PublicKey::P256([vec![4], bytes(&jwk.x)?, bytes(&jwk.y)?].concat())
        }
        ("OKP", Some("Ed25519")) => PublicKey::Ed25519(bytes(&jwk.x)?),
        _ => return None,
    };
    let key = Key::of(public, jwk.kid).ok()?;
    let fits = jwk
        .alg
        .is_none_or(|alg| Algorithm::of(&alg) == Some(key.algorithm()));
    fits.then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kids(document: &str) -> Result<Vec<String>, String> {
        let keys = read(document.as_bytes())?;
        Ok(keys.into_iter().filter_map(|key| key.kid).collect())
    }

    #[test]
    fn keys_for_other_purposes_are_passed_over() {
        let x = URL_SAFE_NO_PAD.encode([7; 32]);
        let key = |kid: &str, more: &str| {
            format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{x}","kid":"{kid}"{more}}}"#)
        };
        let document = format!(
            r#"{{"keys":[{},{},{},{},{},{},{{"kty":"oct","k":"AAAA","kid":"secret"}},7]}}"#,
            key("plain", ""),
            key("sig", r#","use":"sig","alg":"EdDSA""#),
            key("enc", r#","use":"enc""#),
            key("ops", r#","key_ops":["sign"]"#),
            key("alg", r#","alg":"HS256""#),
            r#"{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA","kid":"short"}"#,
        );
        assert_eq!(kids(&document), Ok(vec!["plain".into(), "sig".into()]));
        assert!(kids(r#"{"keys":[]}"#).is_err());
        assert!(kids("<html>").is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_set_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = read(&bytes);
        }
    }
}
