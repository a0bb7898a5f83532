//! What a certificate's issuer says of it lately, in a file that something else keeps fresh.

use std::path::Path;

/// An OCSPResponse that says something, in DER: RFC 6960 §4.2.1. Whether it is for the certificate is
/// the client's to judge.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    let shown = file.display();
    let staple = std::fs::read(file)
        .map_err(|why| format!("`{shown}` cannot be read: {why}; write a file's path"))?;
    match is_successful(&staple) {
        true => Ok(staple),
        false => Err(format!(
            "`{shown}` is no OCSP response in DER that says something; write the path of one, as \
             `openssl ocsp -respout` makes it"
        )),
    }
}

/// A SEQUENCE that is the whole of it, whose first member is the ENUMERATED 0: `successful`.
fn is_successful(der: &[u8]) -> bool {
    let (length, content) = match der {
        [0x30, length @ ..=0x7f, content @ ..] => (usize::from(*length), content),
        [0x30, 0x81, length, content @ ..] => (usize::from(*length), content),
        [0x30, 0x82, high, low, content @ ..] => {
            (usize::from(u16::from_be_bytes([*high, *low])), content)
        }
        _ => return false,
    };
    content.len() == length && content.starts_with(&[0x0a, 1, 0])
}

#[cfg(test)]
mod tests {
    use super::is_successful;

    #[test]
    fn only_whole_responses_that_say_something() {
        let of = |head: &[u8], status: u8, len: usize| {
            let mut der = [head, &[0x0a, 1, status]].concat();
            der.resize(head.len() + len, 0);
            der
        };
        assert!(is_successful(&of(&[0x30, 3], 0, 3)));
        assert!(is_successful(&of(&[0x30, 0x81, 200], 0, 200)));
        assert!(is_successful(&of(&[0x30, 0x82, 1, 0], 0, 256)));
        assert!(!is_successful(&of(&[0x30, 3], 6, 3)), "unauthorized");
        assert!(!is_successful(&of(&[0x30, 0x81, 200], 0, 199)), "cut off");
        assert!(!is_successful(b"-----BEGIN"));
        assert!(!is_successful(b""));
    }
}
