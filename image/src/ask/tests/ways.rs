//! What each way of asking means.

use super::*;
use crate::plan::Output;

#[test]
fn what_asks_for_no_rendition_is_no_plan() {
    for target in [
        "/p",
        "/p?",
        "/p?v=3",
        "/p?utm_source=x&page=2",
        "/p?W=3",
        "/p?&&",
        "/p?=",
        "/p?ww=3",
        "/p?s=sig&e=9",
        "/img/logo.png",
        "/img/none/p",
        "/img/thumbnail",
        "/cdn-cgi/image/w=3",
        "/cdn-cgi/trace",
        "/photos/2024/1.jpg",
        "/a/b:c/plain/x",
        "/",
        "",
    ] {
        assert_eq!(ask_for(target, &settings()), Ok(None), "{target}");
    }
}

#[test]
fn keys_of_queries() {
    let cases = [
        ("w=800", "w800h-q80auto"),
        ("w=800&f=webp", "w800h-q80webp"),
        ("width=800&format=webp&v=9", "w800h-q80webp"),
        ("f=webp&quality=80&w=0800", "w800h-q80webp"),
        ("w=800&width=800&f=webp", "w800h-q80webp"),
        ("h=20&f=jpg", "w-h20q80jpeg"),
        ("preset=medium", "w800h-q80auto"),
        ("preset=thumbnail&q=40", "w200h-q40auto"),
        ("preset=original&w=100&h=50&f=keep", "w100h50q85original"),
        ("q=55", "w-h-q55auto"),
        ("q=auto&w=9", "w9h-qautoauto"),
        ("f=original", "w-h-q80original"),
        ("f=png&q=3", "w-h-q100png"),
        ("f=avif&w=3", "w3h-q80avif"),
        ("w=16384&h=1&q=100&f=jpeg", "w16384h1q100jpeg"),
        ("w=100&dpr=2.5", "w250h-q80auto"),
        ("w=333&h=10&dpr=1.5", "w500h15q80auto"),
        ("w=9&h=9&fit=cover&g=top-left", "w9h9q80auto;cover;g0x0"),
        ("w=9&h=9&fit=crop&gravity=auto", "w9h9q80auto;crop;gauto"),
        ("w=9&h=9&fit=cover&g=0.25x0.7", "w9h9q80auto;cover;g250x700"),
        ("w=9&h=9&fit=cover&g=center", "w9h9q80auto;cover"),
        ("w=9&h=9&fit=pad&bg=%23fff", "w9h9q80auto;pad;bgffffffff"),
        ("w=%31%30&f%6frmat=%77ebp", "w10h-q80webp"),
        ("%70reset=thumbn%61il&w=%32", "w2h-q75auto"),
        (
            "bg=rgb(1%2C2%2C3)&wm=%6Cogo&f=png",
            "w-h-q100png;bg010203ff;wmlogo",
        ),
        ("w=9&bg=00ff0080", "w9h-q80auto;bg00ff0080"),
        ("w=9&fit=squeeze&g=left", "w9h-q80auto;contain"),
        (
            "blur=1.55&sharpen=0.5&grey",
            "w-h-q80auto;blur15;sharp50;grey",
        ),
        ("w=9&blur=0&trim=false", "w9h-q80auto"),
        ("trim&rotate=90&flip=v", "w-h-q80auto;trim10;tm3"),
        ("rotate=180&flip=hv", "w-h-q80auto"),
        (
            "wm=logo&anim=false&metadata=copyright",
            "w-h-q80auto;wmlogo;still;copyright",
        ),
        ("info&w=3&blur=4", "w-h-q80info"),
        ("placeholder=blur&q=3", "w-h-q100placeholder"),
    ];
    for (query, expected) in cases {
        assert_eq!(key(&format!("/p?{query}")), expected, "{query}");
    }
}

#[test]
fn the_ways_of_others_mean_what_they_mean_there() {
    let cases = [
        (
            "/cdn-cgi/image/width=400,quality=80,format=auto/a/p.jpg",
            "w400h-q80auto",
        ),
        ("/cdn-cgi/image/w=400/a/p.jpg", "w400h-q80original"),
        (
            "/cdn-cgi/image/w=9,h=9,fit=cover,gravity=0.5x0,f=webp,onerror=redirect/a/p.jpg",
            "w9h9q80webp;cover;g500x0",
        ),
        (
            "/cdn-cgi/image/w=9,f=baseline-jpeg,q=low,anim=false,scq=30/a/p.jpg",
            "w9h-q50jpeg;still",
        ),
        ("/cdn-cgi/image/format=json,w=9/a/p.jpg", "w-h-q80info"),
        (
            "/cdn-cgi/image/w=9,f=png,background=rgb(255%2C0%2C0)/a/p.jpg",
            "w9h-q100png;bgff0000ff",
        ),
        (
            "/cdn-cgi/image/background=rgb(255,0,0),w=9,f=png/a/p.jpg",
            "w9h-q100png;bgff0000ff",
        ),
        (
            "/cdn-cgi/image/width%3D400%2Cquality%3d80%2Cformat=auto/a/p.jpg",
            "w400h-q80auto",
        ),
        (
            "/cdn-cgi/image/w%3D9%2Cfit%3D%63over/a/p.jpg",
            "w9h-q80original;contain",
        ),
        ("/cdn-cgi/image/preset%3Dthumbnail/a/p.jpg", "w200h-q75auto"),
        ("/img/thumbn%61il/a/p.jpg", "w200h-q75auto"),
        (
            "/x/rs%3Afill%3A300:400/g%3Asm/plain/a/p.jpg@png",
            "w300h400q100png;crop;gauto",
        ),
        (
            "/x/w:9/bga:0.5/bg:1:2:3/plain/a/p.jpg@png",
            "w9h-q100png;bg0102037f",
        ),
        (
            "/x/w:9/bg:1:2:3/bga:0.5/plain/a/p.jpg@png",
            "w9h-q100png;bg0102037f",
        ),
        ("/x/pr%3Athumbnail/plain/a/p.jpg", "w200h-q75auto"),
        (
            "/cdn-cgi/image/w=9,brightness=0.4,trim=20;30;20;0,f=png//a/p.jpg",
            "w9h-q100png",
        ),
        (
            "/_/rs:fill:300:400/g:sm/plain/a/p.jpg@webp",
            "w300h400q80webp;crop;gauto",
        ),
        (
            "/unsafe/resize:fill:300:400:1/plain/local:///a/p.jpg@jpg",
            "w300h400q80jpeg;cover",
        ),
        (
            "/x/w:300/h:0/q:0/plain/http://shop.example/a/p.jpg",
            "w300h-q80original",
        ),
        (
            "/x/s:300:200/el:1/f:best/dpr:2/plain/a/p.jpg",
            "w600h400q80auto;contain",
        ),
        (
            "/x/rt:force/s:30:20/bg:1:2:3/rot:90/bl:2/plain/a/p.jpg@png",
            "w30h20q100png;squeeze;bg010203ff;t1;blur20",
        ),
        (
            "/x/rs:fit:9:9:0:1/bg:fff/kcr:1/wm:0.5:soea/pix:9/plain/a/p.jpg@avif",
            "",
        ),
        (
            "/x/rs:fill-down:9:9/g:fp:0.1:0.9/plain/%2Fa%2Fp.jpg@jpeg",
            "w9h9q80jpeg;crop;g100x900",
        ),
        (
            "/x/rs:fill:9:9/g:nowe:0:0/L2EvcC5qcGc.webp",
            "w9h9q80webp;crop;g0x0",
        ),
        ("/x/w:9/L2Ev/cC5qcGc=", "w9h-q80original"),
        ("/img/thumbnail/a/p.jpg", "w200h-q75auto"),
        ("/img/thumbnail/a/p.jpg?q=9", "w200h-q9auto"),
        ("/x/pr:thumbnail/plain/a/p.jpg", "w200h-q75auto"),
    ];
    for (target, expected) in cases {
        if expected.is_empty() {
            assert_eq!(refusal(target, &settings()), "wm must be one of: logo");
            continue;
        }
        assert_eq!(key(target), expected, "{target}");
        assert_eq!(asked(target).source, here("/a/p.jpg"), "{target}");
    }
}

#[test]
fn sources() {
    let elsewhere = |https, host: &str, target: &str| {
        let (host, target) = (host.to_owned(), target.to_owned());
        Source::Elsewhere(Place {
            https,
            host,
            target,
        })
    };
    let cases = [
        ("/p?id=1&w=400&b=%20", here("/p?id=1&b=%20")),
        ("/p?%69d=%31&%77=4", here("/p?%69d=%31")),
        ("/img/medium/p?id=1", here("/p?id=1")),
        ("/cdn-cgi/image/w=9/p?w=7", here("/p?w=7")),
        (
            "/cdn-cgi/image/w=9/https://SHOP.example/p?x=%2F",
            here("/p?x=%2F"),
        ),
        (
            "/cdn-cgi/image/w=9/http:/cdn.Example:81/p",
            elsewhere(false, "cdn.example:81", "/p"),
        ),
        (
            "/cdn-cgi/image/w=9/https://cdn.example",
            elsewhere(true, "cdn.example", "/"),
        ),
        (
            "/x/w:9/plain/https://cdn.example/a%20b%3Fc=%2525@png",
            elsewhere(true, "cdn.example", "/a%20b?c=%25"),
        ),
        ("/x/w:9/plain/a%0D%0Ax:y%00", here("/a%0D%0Ax:y%00")),
        ("/x/w:9/plain/%C3%A9", here("/%C3%A9")),
        ("/x/w:9/cb:1/plain/a@b@png", here("/a@b")),
    ];
    for (target, expected) in cases {
        assert_eq!(asked(target).source, expected, "{target}");
    }
    for (target, why) in [
        (
            "/x/w:9/plain/s3://bucket/p",
            "the source must be a path, or begin with http:// or https://",
        ),
        (
            "/x/w:9/plain/http://user@cdn.example/p@png",
            "the source's host can't be read",
        ),
        ("/x/w:9/!!!!", "the source can't be read"),
        ("/x/w:9/plain/%ff", "the source can't be read"),
    ] {
        assert_eq!(refusal(target, &settings()), why, "{target}");
    }
}

#[test]
fn sides_are_steps_where_there_are_steps() {
    let steps = ImageSettings {
        steps: vec![100, 200, 400],
        ..settings()
    };
    let mut keys = std::collections::BTreeSet::new();
    for side in 1..=16_384 {
        let asked = ask_for(&format!("/p?w={side}&h={side}"), &steps);
        keys.insert(asked.expect("good").expect("a plan").plan.key());
    }
    let keys: Vec<_> = keys.into_iter().collect();
    assert_eq!(
        keys,
        ["w100h100q80auto", "w200h200q80auto", "w400h400q80auto"]
    );
}

#[test]
fn a_path_form_is_for_the_route_of_its_source() {
    let target = |path: &str| {
        let client = Client::default();
        let request = Request {
            host: "h",
            path,
            query: None,
            client,
            now: 0,
        };
        source_target(&request, &settings())
    };
    assert_eq!(
        target("/img/medium/photos/1.jpg").as_deref(),
        Some("/photos/1.jpg")
    );
    assert_eq!(
        target("/cdn-cgi/image/w=9/photos/1.jpg").as_deref(),
        Some("/photos/1.jpg")
    );
    assert_eq!(
        target("/x/w:9/plain/photos/1.jpg").as_deref(),
        Some("/photos/1.jpg")
    );
    for none in [
        "/photos/1.jpg",
        "/x/w:9/plain/http://other/1.jpg",
        "/img/no/photos/1.jpg",
    ] {
        assert_eq!(target(none), None, "{none}");
    }
}

#[test]
fn what_is_told_is_told_of_an_output() {
    assert_eq!(asked("/p?info").plan.output(), Output::Info);
}
