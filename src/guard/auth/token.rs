//! A token as it is written: RFC 7515 §3.1, RFC 7519. Reading one proves nothing yet.

use super::flaw::Flaw;
use super::settings::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// Bytes; longer ones are not looked at.
pub const LONGEST: usize = 16 << 10;

pub struct Token<'a> {
    pub algorithm: Algorithm,
    /// Which of its issuer's keys.
    pub kid: Option<String>,
    /// What is signed: header and payload, as they came.
    pub signed: &'a [u8],
    pub signature: Vec<u8>,
    payload: &'a [u8],
}

/// Members that are twice there are an error; those that are not here don't matter, unless they are
/// critical.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    #[serde(default, deserialize_with = "is_there")]
    crit: bool,
}

impl Token<'_> {
    pub fn read(text: &[u8]) -> Result<Token<'_>, Flaw> {
        if text.len() > LONGEST {
            return Err(Flaw::TooLong);
        }
        let mut parts = text.split(|b| *b == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Flaw::Malformed);
        };
        let signed = &text[..header.len() + 1 + payload.len()];
        let header = decoded(header)?;
        // Else a list of the members' values would do.
        if header.trim_ascii_start().first() != Some(&b'{') {
            return Err(Flaw::Malformed);
        }
        let header: Header = serde_json::from_slice(&header).map_err(|_| Flaw::Malformed)?;
        // RFC 7515 §4.1.11: what must be understood isn't.
        if header.crit {
            return Err(Flaw::Critical);
        }
        Ok(Token {
            algorithm: Algorithm::of(&header.alg).ok_or(Flaw::Algorithm)?,
            kid: header.kid,
            signed,
            signature: decoded(signature)?,
            payload,
        })
    }

    /// For whoever has verified the signature.
    pub fn payload(&self) -> Result<serde_json::Map<String, serde_json::Value>, Flaw> {
        serde_json::from_slice(&decoded(self.payload)?).map_err(|_| Flaw::Malformed)
    }
}

/// Strict: no padding, and no bits that mean nothing, so that a token has one spelling.
fn decoded(part: &[u8]) -> Result<Vec<u8>, Flaw> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| Flaw::Malformed)
}

fn is_there<'de, D: serde::Deserializer<'de>>(member: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(member).map(|_| true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(header: &str) -> Result<Algorithm, Flaw> {
        let text = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
        Token::read(text.as_bytes()).map(|token| token.algorithm)
    }

    #[test]
    fn a_header_says_how_it_is_signed_and_asks_for_nothing_else() {
        assert_eq!(read(r#"{"alg":"ES256","typ":"JWT"}"#), Ok(Algorithm::Es256));
        for (header, flaw) in [
            (r#"{"alg":"none"}"#, Flaw::Algorithm),
            (r#"{"alg":"hs256"}"#, Flaw::Algorithm),
            (
                r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
                Flaw::Critical,
            ),
            (r#"{"alg":"HS256","crit":null}"#, Flaw::Critical),
            (r#"{"alg":"none","alg":"HS256"}"#, Flaw::Malformed),
            (r#"{"typ":"JWT"}"#, Flaw::Malformed),
            (r#"["HS256"]"#, Flaw::Malformed),
            (r#"{"alg":1}"#, Flaw::Malformed),
        ] {
            assert_eq!(read(header), Err(flaw), "{header}");
        }
    }

    #[test]
    fn a_token_has_one_spelling() {
        let read = |text: &str| Token::read(text.as_bytes()).map(|t| t.signature).err();
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS256"}"#);
        assert_eq!(read(&format!("{header}.e30.AA")), None);
        for bad in ["AB", "AA==", "A A", "A+", "AA.", "A"] {
            assert_eq!(read(&format!("{header}.e30.{bad}")), Some(Flaw::Malformed));
        }
        assert_eq!(read(&format!("{header}.e30")), Some(Flaw::Malformed));
        assert_eq!(read(&"x".repeat(LONGEST + 1)), Some(Flaw::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            header in any::<String>(),
        ) {
            let _ = Token::read(&bytes);
            let text = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
            let _ = Token::read(text.as_bytes());
        }
    }
}
