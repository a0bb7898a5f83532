//! OCSP responses as an issuer makes them (RFC 6960 §4.2.1), but for the signature, which only clients
//! look at.

use std::time::{Duration, SystemTime};

/// That a certificate is good, until then in Unix seconds.
pub fn until(end: u64, serial: u8) -> Vec<u8> {
    let sha1 = sequence(&[b"\x06\x05\x2b\x0e\x03\x02\x1a", b"\x05\0"]);
    let hash = tagged(0x04, &[&[serial; 20]]);
    let of = sequence(&[&sha1, &hash, &hash, &tagged(0x02, &[&[serial & 0x7f]])]);
    let (begin, end) = (time(1_000_000), time(end));
    let good = sequence(&[&of, b"\x80\0", &begin, &tagged(0xa0, &[&end])]);
    let by = tagged(0xa2, &[&hash]);
    let said = sequence(&[&by, &begin, &sequence(&[&good])]);
    let ecdsa = sequence(&[b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"]);
    let basic = sequence(&[&said, &ecdsa, &tagged(0x03, &[&[0; 65]])]);
    let bytes = sequence(&[
        b"\x06\x09\x2b\x06\x01\x05\x05\x07\x30\x01\x01",
        &tagged(0x04, &[&basic]),
    ]);
    sequence(&[b"\x0a\x01\0", &tagged(0xa0, &[&bytes])])
}

/// Unix seconds.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("it is later than 1970").as_secs()
}

/// A GeneralizedTime.
fn time(unix: u64) -> Vec<u8> {
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(unix);
    let text = humantime::format_rfc3339_seconds(time).to_string();
    tagged(0x18, &[text.replace(['-', ':', 'T'], "").as_bytes()])
}

fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    tagged(0x30, parts)
}

fn tagged(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = match content.len() {
        short @ ..128 => vec![short as u8],
        middle @ 128..256 => vec![0x81, middle as u8],
        long => [&[0x82][..], &(long as u16).to_be_bytes()].concat(),
    };
    [vec![tag], length, content].concat()
}
