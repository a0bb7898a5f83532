//! What is refused, and in which words.

use super::*;

#[test]
fn bad_values_say_what_to_write() {
    let cases = [
        ("w=0", "w must be a whole number from 1 to 16384, or auto"),
        ("w=", "w must be a whole number from 1 to 16384, or auto"),
        ("w", "w must be a whole number from 1 to 16384, or auto"),
        ("w=+5", "w must be a whole number from 1 to 16384, or auto"),
        ("w=1.5", "w must be a whole number from 1 to 16384, or auto"),
        (
            "height=99999999999",
            "h must be a whole number from 1 to 16384",
        ),
        ("q=0", "q must be a whole number from 1 to 100, or auto"),
        (
            "quality=101",
            "q must be a whole number from 1 to 100, or auto",
        ),
        (
            "f=exe",
            "f must be one of auto, jpeg, webp, webp-lossless, png, avif, original",
        ),
        (
            "preset=huge",
            "preset must be one of: medium, original, thumbnail",
        ),
        (
            "w=1&width=2",
            "w is given twice with different values; give it once",
        ),
        (
            "f=png&f=webp",
            "f is given twice with different values; give it once",
        ),
        (
            "fit=fill",
            "fit must be one of scale-down, contain, cover, crop, pad, squeeze",
        ),
        ("dpr=9", "dpr must be a number from 0.1 to 8, or auto"),
        ("dpr=0.05", "dpr must be a number from 0.1 to 8, or auto"),
        (
            "bg=12345",
            "bg must be a colour as ffffff, ffffff80, white, black or transparent",
        ),
        ("blur=250.1", "blur must be a number from 0 to 250"),
        ("blur=.", "blur must be a number from 0 to 250"),
        ("rotate=45", "rotate must be one of 0, 90, 180, 270"),
        ("wm=none", "wm must be one of: logo"),
        ("wm=%ff", "wm must be one of: logo"),
        ("w=%zz", "w must be a whole number from 1 to 16384, or auto"),
        ("w=%3", "w must be a whole number from 1 to 16384, or auto"),
        (
            "w=10%00",
            "w must be a whole number from 1 to 16384, or auto",
        ),
        (
            "w=%2531",
            "w must be a whole number from 1 to 16384, or auto",
        ),
        (
            "w=%EF%BC%91",
            "w must be a whole number from 1 to 16384, or auto",
        ),
        ("h=%C3", "h must be a whole number from 1 to 16384"),
        ("rotate=90%26w=3", "rotate must be one of 0, 90, 180, 270"),
        (
            "preset=%ff",
            "preset must be one of: medium, original, thumbnail",
        ),
        (
            "w=1&w=%32",
            "w is given twice with different values; give it once",
        ),
        (
            "w=16000&h=16000&fit=pad",
            "it would have more than 50000000 pixels",
        ),
    ];
    for (query, expected) in cases {
        assert_eq!(
            refusal(&format!("/p?{query}"), &settings()),
            expected,
            "{query}"
        );
    }
    let no_avif = ImageSettings::default();
    assert!(refusal("/p?f=avif", &no_avif).starts_with("f must be one of"));
}

#[test]
fn what_means_nothing_is_left_out_or_refused() {
    let strict = ImageSettings {
        unknown: crate::Unknown::Refuse,
        ..settings()
    };
    for target in [
        "/cdn-cgi/image/w=9,gamma=2/p",
        "/cdn-cgi/image/w=9,x/p",
        "/cdn-cgi/image/w=9%2C%FF%3D1/p",
        "/cdn-cgi/image/w=9,(,h=9/p",
        "/x/w:9/pix:4/plain/p",
        "/p?w=9&v=1",
        "/x/w:9/g:no:5:5/plain/p",
        "/x/rt:auto/plain/p",
    ] {
        assert!(ask_for(target, &settings()).is_ok(), "{target}");
        assert!(
            refusal(target, &strict).ends_with("means nothing here"),
            "{target}"
        );
    }
    assert_eq!(
        key("/cdn-cgi/image/w=9,gamma=2,f=png/p"),
        key("/p?w=9&f=png&v=1")
    );
}
