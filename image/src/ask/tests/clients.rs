//! What clients say of themselves.

use super::*;

fn with_client(query: &str, client: Client<'_>) -> Asked {
    let request = Request {
        host: "",
        path: "/p",
        query: Some(query),
        client,
        now: 0,
    };
    ask(&request, &settings()).expect("good").expect("a plan")
}

#[test]
fn hints_count_where_they_are_asked_for() {
    let client = Client {
        accept: Some("image/webp"),
        sec_ch_dpr: Some("2.625"),
        sec_ch_width: None,
        width: Some("700"),
    };
    let cases = [
        ("w=100&f=jpeg", "w100h-q80jpeg", ""),
        ("w=100", "w100h-q80auto-webp", "Accept"),
        ("w=100&dpr=auto&f=jpeg", "w300h-q80jpeg", "Sec-CH-DPR"),
        (
            "w=100&h=10&dpr=auto",
            "w300h30q80auto-webp",
            "Accept Sec-CH-DPR",
        ),
        ("w=auto&f=jpeg", "w704h-q80jpeg", "Sec-CH-Width Width"),
        (
            "w=auto&dpr=auto&f=jpeg",
            "w704h-q80jpeg",
            "Sec-CH-Width Width",
        ),
        ("dpr=auto&f=jpeg", "w-h-q80jpeg", ""),
    ];
    for (query, key, vary) in cases {
        let asked = with_client(query, client);
        let names: Vec<_> = asked.vary.names().collect();
        assert_eq!(
            (&*asked.plan.key(), &*names.join(" ")),
            (key, vary),
            "{query}"
        );
    }
    let client = Client {
        sec_ch_width: Some("99999"),
        ..Client::default()
    };
    assert_eq!(
        with_client("w=auto&f=png", client).plan.key(),
        "w-h-q100png"
    );
}

#[test]
fn formats_by_accept_are_three() {
    let cases = [
        ("image/avif,image/webp,image/apng,*/*;q=0.8", "auto-avif"),
        ("image/avif", "auto"),
        ("image/avif;q=0,IMAGE/WebP ; q=0.1", "auto-webp"),
        ("image/webp;q=1.000", "auto-webp"),
        ("image/webp;q=0", "auto"),
        ("image/webp; Q=0.000, */*", "auto"),
        ("image/*", "auto"),
        ("image/webpx", "auto"),
        ("", "auto"),
    ];
    for (accept, expected) in cases {
        let client = Client {
            accept: Some(accept),
            ..Client::default()
        };
        assert_eq!(
            with_client("w=9", client).plan.key(),
            format!("w9h-q80{expected}"),
            "{accept}"
        );
    }
}
