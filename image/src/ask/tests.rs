use super::*;
use crate::plan::Output;
use proptest::prelude::*;

const KEY: &str = "736563726574:68656C6C6F";

fn settings() -> ImageSettings {
    let mut settings = ImageSettings {
        paths: vec![PathForm::Presets, PathForm::Cloudflare, PathForm::Imgproxy],
        avif: true,
        ..ImageSettings::default()
    };
    let logo = crate::Watermark::new(Vec::new(), crate::Gravity::Centre, 50, 100);
    settings.watermarks.insert("logo".to_owned(), logo);
    settings
}

fn signed() -> ImageSettings {
    let signing = Some(Keys::read(KEY).expect("a key"));
    ImageSettings {
        signing,
        ..settings()
    }
}

fn ask_for(target: &str, settings: &ImageSettings) -> Result<Option<Asked>, AskError> {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (target, None),
    };
    let request = Request {
        host: "shop.example",
        path,
        query,
        client: Client::default(),
        now: 1_000,
    };
    ask(&request, settings)
}

fn asked(target: &str) -> Asked {
    let asked = ask_for(target, &settings());
    asked
        .unwrap_or_else(|e| panic!("{target}: {e}"))
        .unwrap_or_else(|| panic!("{target}: no plan"))
}

fn key(target: &str) -> String {
    asked(target).plan.key()
}

fn here(target: &str) -> Source {
    Source::Here(target.to_owned())
}

fn refusal(target: &str, settings: &ImageSettings) -> String {
    ask_for(target, settings).expect_err(target).to_string()
}

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

/// A wish that all ways can write.
#[derive(Clone, Debug)]
struct Common {
    width: u32,
    height: Option<u32>,
    quality: u32,
    format: &'static str,
    cover: bool,
    gravity: Option<(u16, u16)>,
    blur: u32,
}

prop_compose! {
    fn common()(
        width in 1..2000u32, height in prop::option::of(1..2000u32), quality in 1..=100u32,
        format in prop::sample::select(vec!["webp", "png", "jpeg", "avif"]), cover in any::<bool>(),
        gravity in prop::option::of((0..=1000u16, 0..=1000u16)), blur in 0..50u32,
    ) -> Common {
        Common { width, height, quality, format, cover, gravity, blur }
    }
}

impl Common {
    fn points(&self) -> Option<(String, String)> {
        let share = |n: u16| format!("{:.3}", f64::from(n) / 1000.0);
        self.gravity.map(|(x, y)| (share(x), share(y)))
    }

    fn query(&self, long: bool) -> Vec<String> {
        let name = |short: &str, name: &str| {
            if long {
                name.to_owned()
            } else {
                short.to_owned()
            }
        };
        let mut pairs = vec![
            format!("{}={}", name("w", "width"), self.width),
            format!("{}={}", name("q", "quality"), self.quality),
            format!("{}={}", name("f", "format"), self.format),
            format!("blur={}", self.blur),
        ];
        pairs.extend(self.height.map(|h| format!("{}={h}", name("h", "height"))));
        pairs.extend(self.cover.then(|| "fit=cover".to_owned()));
        pairs.extend(
            self.points()
                .map(|(x, y)| format!("{}={x}x{y}", name("g", "gravity"))),
        );
        pairs
    }

    fn imgproxy(&self, long: bool) -> Vec<String> {
        let kind = if self.cover { "fill" } else { "fit" };
        let height = self.height.unwrap_or(0);
        let enlarge = u8::from(self.cover);
        let mut options = match long {
            true => vec![
                format!("resize:{kind}:{}:{height}:{enlarge}", self.width),
                format!("quality:{}", self.quality),
            ],
            false => vec![format!(
                "rt:{kind}/w:{}/h:{height}/el:{enlarge}/q:{}",
                self.width, self.quality
            )],
        };
        options.push(format!(
            "{}:{}",
            if long { "blur" } else { "bl" },
            self.blur
        ));
        options.extend(self.points().map(|(x, y)| format!("g:fp:{x}:{y}")));
        options
    }
}

/// Every so many characters of it, and all that separate, with percent signs.
fn escaped(text: &str, every: usize) -> String {
    let escape = |(at, byte): (usize, u8)| match at % every == 0 || b"=,:()".contains(&byte) {
        true => format!("%{byte:02x}"),
        false => char::from(byte).to_string(),
    };
    text.bytes().enumerate().map(escape).collect()
}

proptest! {
    #[test]
    fn percent_signs_change_nothing(wish in common(), every in 1..5usize, long in any::<bool>()) {
        let pairs = wish.query(long);
        let plain = key(&format!("/p?{}", pairs.join("&")));
        let query: Vec<_> = pairs
            .iter()
            .map(|pair| pair.split('=').map(|part| escaped(part, every)).collect::<Vec<_>>().join("="))
            .collect();
        let imgproxy: Vec<_> = wish.imgproxy(long).iter().flat_map(|option| option.split('/').map(|part| escaped(part, every)).collect::<Vec<_>>()).collect();
        for target in [
            format!("/p?{}", query.join("&")),
            format!("/cdn-cgi/image/{}/p", escaped(&pairs.join(","), every)),
            format!("/x/{}/plain/p@{}", imgproxy.join("/"), wish.format),
        ] {
            prop_assert_eq!(&asked(&target).source, &here("/p"), "{}", target);
            prop_assert_eq!(&key(&target), &plain, "{}", target);
        }
    }

    #[test]
    fn every_way_to_ask_the_same_has_the_same_plan_and_source(
        wish in common(), path in "/[a-z0-9_.-][a-z0-9/_.-]{0,20}", id in prop::option::of(0..9u8), turn in 0..5usize,
    ) {
        let own = id.map(|id| format!("id={id}"));
        let full = own.as_ref().map_or(path.clone(), |own| format!("{path}?{own}"));
        let mut reference = None;
        for long in [false, true] {
            let mut pairs = wish.query(long);
            let at = turn % pairs.len();
            pairs.rotate_left(at);
            let options = pairs.join(",");
            pairs.extend(own.clone());
            let imgproxy = wish.imgproxy(long).join("/");
            let encoded = base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, &full);
            let cut = turn.min(encoded.len());
            for target in [
                format!("{path}?{}", pairs.join("&")),
                format!("/cdn-cgi/image/{options}{full}"),
                format!("/cdn-cgi/image/{options}/https://shop.example{full}"),
                format!("/x/{imgproxy}/plain/{}@{}", full.replace('?', "%3F"), wish.format),
                format!("/x/{imgproxy}/{}/{}.{}", &encoded[..cut], &encoded[cut..], wish.format),
            ] {
                let found = asked(&target);
                prop_assert_eq!(&found.source, &Source::Here(full.clone()), "{}", target);
                let key = found.plan.key();
                let reference = reference.get_or_insert(key.clone());
                prop_assert_eq!(&*reference, &key, "{}", target);
            }
        }
    }

    #[test]
    fn keys_are_equal_exactly_for_equal_plans(one in common(), other in common(), flag in any::<bool>()) {
        let plan = |wish: &Common| asked(&format!("/p?{}", wish.query(flag).join("&"))).plan;
        let (one, other) = (plan(&one), plan(&other));
        prop_assert_eq!(one == other, one.key() == other.key());
        prop_assert_eq!(&one, &one.clone().reduced());
    }

    #[test]
    fn any_text_is_answered(
        path in "(/(img|cdn-cgi/image|x)/)?[a-z:=,/.%@0-9é ]{0,40}", query in "([a-z]{0,7}=?[a-z0-9+%.]{0,6}&?){0,6}",
        text in ".{0,30}",
    ) {
        for settings in [settings(), signed()] {
            for path in [&path, &text] {
                let client = Client { accept: Some(&text), sec_ch_dpr: Some(&text), sec_ch_width: Some(&query), width: Some(&text) };
                let request = Request { host: &text, path, query: Some(&query), client, now: 0 };
                if let Ok(Some(asked)) = ask(&request, &settings) {
                    prop_assert!(asked.plan.key().len() < 200);
                }
                let _ = source_target(&request, &settings);
            }
        }
    }
}

#[test]
fn what_is_told_is_told_of_an_output() {
    assert_eq!(asked("/p?info").plan.output(), Output::Info);
}
