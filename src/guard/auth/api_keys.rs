//! API keys: a file of their hashes, one a line: `NAME sha256:HEX CLAIM=VALUE …`.
//!
//! Keys are random and long, so that a plain hash protects them; a look-up by hash takes no time
//! that says how much of a key was right.

use super::verified::{Fingerprint, fingerprint};
use crate::guard::claims::{Claims, Value};
use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

/// Shorter keys can be guessed from their hashes.
pub const SHORTEST: usize = 20;

pub struct ApiKeys {
    by_hash: HashMap<Fingerprint, Arc<Claims>>,
}

impl ApiKeys {
    /// The error completes a sentence that begins with the file. `passed`: as of `Claims`.
    pub fn read(text: &str, passed: Option<&[String]>) -> Result<ApiKeys, String> {
        let mut by_hash = HashMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |why: &str| format!("has a mistake on line {}: {why}", number + 1);
            let (hash, claims) = read_line(line, passed).map_err(|why| at(&why))?;
            if by_hash.insert(hash, Arc::new(claims)).is_some() {
                return Err(at("the same key is on a line before it"));
            }
        }
        match by_hash.is_empty() {
            true => Err("has no keys; make one with: lakh hash-key NAME --new".to_owned()),
            false => Ok(ApiKeys { by_hash }),
        }
    }

    pub fn find(&self, key: &[u8]) -> Option<&Arc<Claims>> {
        self.by_hash.get(&fingerprint(key))
    }

    pub fn count(&self) -> usize {
        self.by_hash.len()
    }
}

/// The line for a key. `claims` are `NAME=VALUE`.
pub fn line(name: &str, key: &[u8], claims: &[String]) -> Result<String, String> {
    if key.len() < SHORTEST {
        return Err(format!(
            "the key has {} bytes; {SHORTEST} is the least, and --new makes one",
            key.len()
        ));
    }
    let mut line = format!("{name} sha256:");
    for byte in fingerprint(key) {
        // Writing to a String can't fail.
        let _ = write!(line, "{byte:02x}");
    }
    for claim in claims {
        line.extend([" ", claim]);
    }
    read_line(&line, None).map(|_| line)
}

fn read_line(line: &str, passed: Option<&[String]>) -> Result<(Fingerprint, Claims), String> {
    let mut words = line.split_ascii_whitespace();
    let name = words.next().filter(|name| !name.contains([':', '=']));
    let name = name.ok_or("it begins with no name")?;
    let hash = words.next().and_then(|word| word.strip_prefix("sha256:"));
    let hash = hash.and_then(from_hex);
    let hash = hash.ok_or("after the name comes sha256: with 64 hexadecimal digits")?;
    let mut claims = Vec::new();
    for word in words {
        match word.split_once('=') {
            Some((claim, value)) if !claim.is_empty() => {
                claims.push((claim, Value::One(value.to_owned())));
            }
            _ => return Err(format!("`{word}` is no claim; write it like class=truck")),
        }
    }
    // Behind what the line says itself, which then holds.
    claims.push(("sub", Value::One(name.to_owned())));
    Ok((hash, Claims::with_values(claims, passed)))
}

fn from_hex(digits: &str) -> Option<Fingerprint> {
    let mut bytes = [0; 32];
    if digits.len() != 64 || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    for (at, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: &str = "a-key-that-is-long-enough";

    #[test]
    fn a_line_names_its_key_and_what_it_claims() {
        let claims = ["class=truck".to_owned()];
        let line = line("ann", KEY.as_bytes(), &claims).expect("a line");
        let text = format!("# keys\n\n{line}\n");
        let keys = ApiKeys::read(&text, None).expect("a file");
        let claims = keys.find(KEY.as_bytes()).expect("its key");
        assert_eq!(claims.get("sub"), Some("ann"));
        assert_eq!(claims.get("class"), Some("truck"));
        assert!(keys.find(b"a-key-that-is-long-enough.").is_none());
        assert!(keys.find(line.as_bytes()).is_none());
        assert_eq!(keys.count(), 1);
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let hash = format!("sha256:{}", "ab".repeat(32));
        for (text, why) in [
            ("".to_owned(), "has no keys"),
            (format!("\nann {hash}\nbob {hash}"), "line 3: the same key"),
            ("ann sha256:abc".to_owned(), "line 1: after the name"),
            (format!("ann {}", "ab".repeat(32)), "line 1: after the name"),
            (hash.clone(), "line 1: it begins with no name"),
            (format!("ann {hash} admin"), "`admin` is no claim"),
        ] {
            let said = ApiKeys::read(&text, None).err().expect("a mistake");
            assert!(said.contains(why), "{said}");
        }
        assert!(line("ann", b"short", &[]).is_err());
        assert!(line("a b", KEY.as_bytes(), &[]).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_file_or_not(text in any::<String>(), key in any::<Vec<u8>>()) {
            if let Ok(keys) = ApiKeys::read(&text, None) {
                let _ = keys.find(&key);
            }
        }
    }
}
