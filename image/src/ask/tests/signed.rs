//! Where there are keys.

use super::*;

#[test]
fn only_what_is_signed_or_a_preset_alone_is_made_where_there_are_keys() {
    let settings = signed();
    let keys = settings.signing.clone().expect("keys");
    for open in [
        "/p?preset=medium",
        "/img/medium/p?id=1",
        "/_/pr:medium/plain/p",
        "/cdn-cgi/image/preset=medium/p",
    ] {
        assert!(ask_for(open, &settings).is_ok(), "{open}");
    }
    for closed in [
        "/p?w=9",
        "/p?preset=medium&q=9",
        "/img/medium/p?q=3",
        "/unsafe/w:9/plain/p",
        "/cdn-cgi/image/w=9/p",
        "/_/pr:medium/plain/http://other.example/p",
    ] {
        assert_eq!(
            ask_for(closed, &settings),
            Err(AskError::Unsigned),
            "{closed}"
        );
    }
    for message in [
        "/p?w=9",
        "/p?id=1&w=9&e=1000",
        "/cdn-cgi/image/w=9/p?e=2000",
    ] {
        let mark = if message.contains('?') { '&' } else { '?' };
        let target = format!("{message}{mark}s={}", keys.sign(message));
        let asked = ask_for(&target, &settings).expect(&target).expect("a plan");
        let plain = ask_for(message, &self::settings())
            .expect("good")
            .expect("a plan");
        assert_eq!(asked.plan, plain.plan, "the signature is no part of it");
        let Source::Here(source) = asked.source else {
            panic!("{target}")
        };
        assert!(!source.contains("s=") && !source.contains("e="), "{source}");
        let forged = target.replace("w=9", "w=8");
        assert_eq!(
            ask_for(&forged, &settings),
            Err(AskError::Signature),
            "{forged}"
        );
    }
    let padded = format!("/p?w=9&s={}%3D", keys.sign("/p?w=9"));
    assert!(ask_for(&padded, &settings).is_ok(), "{padded}");
    // What is signed is what is sent, however it could be written as well.
    let rewritten = format!("/p?w=%39&s={}", keys.sign("/p?w=9"));
    assert_eq!(ask_for(&rewritten, &settings), Err(AskError::Signature));
    let late = format!("/p?w=9&e=999&s={}", keys.sign("/p?w=9&e=999"));
    assert_eq!(ask_for(&late, &settings), Err(AskError::Expired));
    let forever = late.replace("e=999&", "");
    assert_eq!(ask_for(&forever, &settings), Err(AskError::Signature));
    assert_eq!(
        ask_for("/p?s=1", &settings),
        Ok(None),
        "an original is nobody's rendition"
    );
}

/// The example of imgproxy's own guide: key `secret`, salt `hello`.
#[test]
fn a_signature_of_imgproxy_is_one() {
    let path =
        "/rs:fill:300:400:0/g:sm/aHR0cDovL2V4YW1w/bGUuY29tL2ltYWdl/cy9jdXJpb3NpdHku/anBn.png";
    let target = format!("/oKfUtW34Dvo2BGQehJFR4Nr0_rIjOtdtzJ3QFsUcXH8{path}");
    let asked = ask_for(&target, &signed())
        .expect("signed")
        .expect("a plan");
    assert_eq!(asked.plan.key(), "w300h400q100png;crop;gauto");
    let place = Place {
        https: false,
        host: "example.com".to_owned(),
        target: "/images/curiosity.jpg".to_owned(),
    };
    assert_eq!(asked.source, Source::Elsewhere(place));
    let other = target.replace("oKf", "oKg");
    assert_eq!(ask_for(&other, &signed()), Err(AskError::Signature));
}

#[test]
fn keys_can_be_exchanged() {
    let both = Keys::read("# new\n00ff:01\n\n736563726574:68656C6C6F # old").expect("two keys");
    let old = Keys::read(KEY).expect("a key");
    assert!(both.verify("/p", &old.sign("/p")) && both.verify("/p", &both.sign("/p")));
    assert!(!old.verify("/p", &both.sign("/p")));
    assert!(!format!("{both:?}").contains("255"));
    for bad in ["", "# nothing", "xyz", "abc", ":00", "00:0"] {
        assert!(Keys::read(bad).is_err(), "{bad}");
    }
}
