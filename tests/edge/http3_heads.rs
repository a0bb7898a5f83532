//! Heads over HTTP/3, written field by field: RFC 9114 §4.3, RFC 9204 §4.5.

use crate::harness::{Authority, Origin};
use crate::http3::{connect, start};
use h3::error::Code;

const METHOD: &[u8] = b"\xd1";
const SCHEME: &[u8] = b"\xd7";
const PATH: &[u8] = b"\xc1";
const HOST: &[u8] = b"\x50\x09edge.test";
const FIELD: &[u8] = b"\x23x-a\x01b";

/// A stream of a request with these field lines, and no body.
fn request(lines: &[&[u8]]) -> Vec<u8> {
    let section = [b"\0\0", &lines.concat()[..]].concat();
    let length = 0x4000 | u16::try_from(section.len()).expect("a short one");
    [&[1][..], &length.to_be_bytes(), &section].concat()
}

#[test]
fn pseudo_fields_come_once_and_first() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "");
    let client = connect(&edge, &authority);
    // In the table, by a name of the table, as a literal, and as one in Huffman's code.
    let paths = [
        PATH,
        b"\x51\x06/other",
        b"\x25:path\x06/other",
        b"\x2c\xb9\x58\xd3\x3f\x06/other",
    ];
    for path in paths {
        let answer = client.exchange(&request(&[METHOD, SCHEME, path, HOST, FIELD]));
        assert!(answer.expect("an answer").ends_with(b"hello"), "{path:?}");
    }
    assert_eq!(origin.count(), 4);

    let others = [
        &[METHOD, METHOD, SCHEME, PATH, HOST][..],
        &[METHOD, b"\xd4", SCHEME, PATH, HOST],
        &[METHOD, SCHEME, b"\xd6", PATH, HOST],
        &[METHOD, SCHEME, PATH, HOST, b"\x50\x05other"],
        // After a field, and one of an answer's.
        &[METHOD, SCHEME, HOST, FIELD, PATH],
        &[METHOD, SCHEME, PATH, HOST, b"\xd9"],
    ];
    let twice = paths.map(|path| [METHOD, SCHEME, PATH, path, HOST]);
    let refused = others
        .into_iter()
        .chain(twice.iter().map(|lines| &lines[..]));
    let mut count = 0;
    for lines in refused {
        let reset = client.exchange(&request(lines));
        assert_eq!(reset, Err(Code::H3_MESSAGE_ERROR.value()), "{lines:?}");
        count += 1;
    }
    edge.await_metric("lakh_bad_requests_total", f64::from(count));
    assert_eq!(origin.count(), 4, "no part of any went on");
}

/// They are answered and reset by the library, and counted and told as all others are.
#[test]
fn what_brings_no_head_is_counted() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "");
    let client = connect(&edge, &authority);
    let none = client.exchange(b"");
    assert_eq!(none, Err(Code::H3_REQUEST_INCOMPLETE.value()));
    // `accept: */*`, in the table: 41 bytes each as RFC 9114 §4.2.2 counts them.
    let fields = b"\xdd".repeat(15_000);
    let large = client.exchange(&request(&[METHOD, SCHEME, PATH, HOST, &fields]));
    assert!(large.is_ok(), "{large:?}");
    for code in ["400", "431"] {
        let counted =
            format!(r#"lakh_http_requests_total{{code="{code}",method="other",route="-"}}"#);
        edge.await_metric(&counted, 1.0);
    }
    edge.await_metric("lakh_bad_requests_total", 2.0);
    assert_eq!(origin.count(), 0);
}
