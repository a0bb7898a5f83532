//! `lakh hash-key`: the line of an API key for the file that `api_keys` names.

use crate::guard::api_key_line;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom, SystemRandom};
use std::io::Read;
use std::process::ExitCode;

/// Bytes of a new key, from the system's randomness.
const NEW: usize = 32;

/// The line goes to standard output, and so to the file; a new key to standard error, for whom it is.
pub fn hash_key(name: &str, claims: &[String], new: bool) -> ExitCode {
    let key = if new { make() } else { read() };
    match key.and_then(|key| Ok((api_key_line(name, key.as_bytes(), claims)?, key))) {
        Ok((line, key)) => {
            println!("{line}");
            if new {
                eprintln!("{key}");
            }
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("lakh: {why}");
            ExitCode::FAILURE
        }
    }
}

fn make() -> Result<String, String> {
    let mut bytes = [0; NEW];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| "the system gives no randomness")?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn read() -> Result<String, String> {
    let mut key = String::new();
    let read = std::io::stdin().read_to_string(&mut key);
    read.map_err(|e| format!("standard input can't be read: {e}"))?;
    Ok(key.trim().to_owned())
}
