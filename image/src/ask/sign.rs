//! Who may ask for what isn't a preset: whoever knows a key. HMAC-SHA256 in base64url, as imgproxy
//! signs its URLs, so that what signs for it signs for this.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use std::borrow::Cow;
use std::fmt;

/// The first one signs; all of them prove, so that keys can be exchanged without a gap.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys(Vec<Pair>);

#[derive(Clone, PartialEq, Eq)]
struct Pair {
    key: Vec<u8>,
    /// Before what is signed.
    salt: Vec<u8>,
}

/// What a request proves itself with.
#[derive(Debug, Default)]
pub(super) struct Proof<'r> {
    /// What was signed, if it was.
    pub message: Cow<'r, str>,
    pub signature: Option<Cow<'r, str>>,
    /// Unix time in seconds.
    pub expires: Option<u64>,
}

impl Keys {
    /// A line a key: `KEY` or `KEY:SALT`, both in hexadecimal digits; `#` begins a comment.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut pairs = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            let (key, salt) = line.split_once(':').unwrap_or((line, ""));
            let pair = unhex(key).zip(unhex(salt));
            let (key, salt) = pair.filter(|(key, _)| !key.is_empty()).ok_or(format!(
                "line {} is no key; write KEY or KEY:SALT in hexadecimal digits",
                number + 1
            ))?;
            pairs.push(Pair { key, salt });
        }
        match pairs.is_empty() {
            true => Err("no key is in it; write one a line, in hexadecimal digits".to_owned()),
            false => Ok(Self(pairs)),
        }
    }

    /// `message`: path and query as they will be asked for, but for the signature.
    pub fn sign(&self, message: &str) -> String {
        let first = self.0.first().expect("a key, or `read` had failed");
        URL_SAFE_NO_PAD.encode(first.mac(message).finalize().into_bytes())
    }

    pub(super) fn verify(&self, message: &str, signature: &str) -> bool {
        let signature = signature.trim_end_matches('=');
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return false;
        };
        let proves = |pair: &Pair| pair.mac(message).verify_slice(&signature).is_ok();
        self.0.iter().any(proves)
    }
}

impl Pair {
    fn mac(&self, message: &str) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("HMAC takes keys of any length");
        mac.chain_update(&self.salt).chain_update(message)
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = digits.chars().map(|digit| digit.to_digit(16)).collect();
    let pairs = digits?;
    let byte = |pair: &[u32]| match *pair {
        [high, low] => u8::try_from(high * 16 + low).ok(),
        _ => None,
    };
    pairs.chunks(2).map(byte).collect()
}

/// Secrets are not for logs.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}
