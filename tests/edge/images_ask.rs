//! Ways to ask for a picture: one rendition whichever it is, by the rules of its source's route, and
//! only for those who may.

use crate::harness::{Answer, Authority, Edge, Origin, Reply, ask, behind_tls, get};
use crate::images::{jpeg, red_and_blue};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

const WAYS: &str = "
upstreams: {app: {servers: [$0]}}
caches: {images: {memory: 128MiB, max_object: 32MiB}}
images: {paths: [presets, cloudflare, imgproxy], presets: {small: {width: 40, format: jpeg}}}
routes:
- {name: photos, match: {path: /*}, upstream: app, cache: {in: images}, images: true, purge_from}
- {name: private, match: {path: /private/*}, upstream: app, cache: {in: images}, images: true, allow: [10.0.0.0/8]}
- {name: plain, match: {path: /plain/*}, upstream: app, cache: {in: images}}
- {name: moved, match: {path: /v1/*}, upstream: app, cache: {in: images}, images: true, rewrite: {strip_prefix: /v1}}
";

const SIGNED: &str = "
upstreams: {app: {servers: [$0]}}
caches: {images: {memory: 128MiB}}
images: {signing_key_file: $dir/keys, paths: [presets, cloudflare, imgproxy]}
routes: [{name: photos, match: {path: /*}, upstream: app, cache: {in: images}, images: true}]
";

pub fn yaml() -> String {
    WAYS.replace(", purge_from}", "}").replace(
        "cache: {in: images}, images: true}",
        "cache: {in: images, purge_from: [127.0.0.0/8]}, images: true}",
    )
}

/// Says of each picture its own path.
fn origin() -> Origin {
    let file = jpeg(&red_and_blue(400, 300));
    Origin::start(move |seen| {
        let control = match seen.path() {
            "/secret.jpg" => "private",
            _ => "max-age=60",
        };
        let fields = [("content-type", "image/jpeg"), ("cache-control", control)];
        match seen.path().ends_with(".jpg") {
            true => Answer::of(200, &fields, &file),
            false => Answer::of(200, &[("cache-control", "max-age=60")], "a page"),
        }
    })
}

/// The same wish in every way: 40 pixels wide, JPEG, of quality 80.
pub fn ways(source: &str) -> Vec<String> {
    let mark = if source.contains('?') { '&' } else { '?' };
    vec![
        format!("{source}{mark}w=40&f=jpeg"),
        format!("{source}{mark}format=jpg&width=40&q=80"),
        format!("{source}{mark}preset=small"),
        format!("{source}{mark}w=%34%30&f%6frmat=jp%65g"),
        format!("/img/small{source}"),
        format!("/cdn-cgi/image/width=40,quality=80,format=jpeg{source}"),
        format!("/cdn-cgi/image/width%3D40%2Cformat%3Djpeg{source}"),
        format!("/cdn-cgi/image/f=jpeg,w=40,onerror=redirect/http://shop.example{source}"),
        format!("/_/rs:fit:40/plain{}@jpg", source.replace('?', "%3F")),
        format!("/unsafe/w:40/q:80/f:jpg/{}", URL_SAFE_NO_PAD.encode(source)),
        format!(
            "/x/pr:small/plain/http://shop.example{}",
            source.replace('?', "%3F")
        ),
    ]
}

pub fn at(target: &str) -> crate::harness::Ask {
    get(target).host("shop.example")
}

#[test]
fn all_ways_share_one_rendition_of_one_source() {
    let origin = origin();
    let edge = Edge::start(&yaml(), &[&origin]);

    for source in ["/a.jpg", "/b/c.jpg?id=7&v=%20"] {
        let replies: Vec<Reply> = ways(source)
            .iter()
            .map(|way| at(way).send(&edge).expect(200))
            .collect();
        for (reply, way) in replies.iter().zip(ways(source)) {
            assert_eq!(reply.the("content-type"), "image/jpeg", "{way}");
            assert_eq!(reply.body, replies[0].body, "{way}");
        }
        assert!(!replies[0].is_hit() && replies[1..].iter().all(Reply::is_hit));
        assert!(replies[0].cache_status().ends_with("detail=transformed"));
        let last = origin.seen().last().map(|seen| seen.target.clone());
        assert_eq!(last.as_deref(), Some(source));
    }
    assert_eq!(origin.count(), 2);
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{format="jpeg",outcome="transformed"}"#),
        2.0
    );
    assert!(edge.metric("lakh_image_saved_bytes_total") > 0.0);
    let (read, made) = ("direction=\"in\"", "direction=\"out\"");
    let bytes = |which: &str| edge.metric(&format!("lakh_image_bytes_total{{{which}}}"));
    assert_eq!(
        bytes(read) - bytes(made),
        edge.metric("lakh_image_saved_bytes_total")
    );
}

#[test]
fn a_purge_takes_the_renditions_of_all_ways() {
    let origin = origin();
    let edge = Edge::start(&yaml(), &[&origin]);
    let hits = || -> usize {
        ways("/a.jpg")
            .iter()
            .filter(|way| at(way).send(&edge).expect(200).is_hit())
            .count()
    };
    hits();
    let all = ways("/a.jpg").len();
    assert_eq!(hits(), all);

    for purged in [
        "/a.jpg",
        "/img/small/a.jpg",
        "/cdn-cgi/image/w=9/a.jpg",
        "/_/w:3/plain/a.jpg",
        "/a.jpg?w=77",
    ] {
        ask("PURGE", purged)
            .host("shop.example")
            .send(&edge)
            .expect(200);
        assert_eq!(hits(), all - 1, "after {purged} one is made anew");
        assert_eq!(hits(), all);
    }
    assert_eq!(origin.count(), 6, "and its source is fetched anew");
}

#[test]
fn operators_purge_renditions_by_their_own_urls_and_folders() {
    let origin = origin();
    let edge = Edge::start(&yaml(), &[&origin]);
    let is_hit = || at("/img/small/b/a.jpg").send(&edge).expect(200).is_hit();
    is_hit();

    for order in [
        r#"{"url": "http://shop.example/img/small/b/a.jpg"}"#,
        r#"{"url": "http://shop.example/b/a.jpg?w=50"}"#,
        r#"{"url": "shop.example/cdn-cgi/image/w=9/b/a.jpg"}"#,
        r#"{"prefix": "shop.example/img/small/b/"}"#,
        r#"{"prefix": "shop.example/cdn-cgi/image/w=9/"}"#,
        r#"{"prefix": "shop.example/b/"}"#,
    ] {
        assert!(is_hit(), "before {order}");
        edge.purge(order);
        assert!(!is_hit(), "after {order}");
    }
    edge.purge(r#"{"prefix": "shop.example/img/small/c/"}"#);
    assert!(is_hit());
}

#[test]
fn operators_purge_the_folder_of_all_renditions() {
    let origin = origin();
    let edge = Edge::start(&yaml(), &[&origin]);
    let hits = |source: &str| -> usize {
        let ways = ways(source).into_iter();
        ways.filter(|way| at(way).send(&edge).expect(200).is_hit())
            .count()
    };
    let page = || at("/page").send(&edge).expect(200).is_hit();
    let (all, sources) = (ways("/").len(), ["/b/a.jpg", "/img/a.jpg"]);
    page();
    assert_eq!(sources.map(hits), [all - 1; 2]);

    for folder in ["img/", "cdn-cgi/", "cdn-cgi/image/"] {
        let fetched = origin.count();
        edge.purge(&format!(r#"{{"prefix": "shop.example/{folder}"}}"#));
        assert_eq!(sources.map(hits), [all - 1; 2], "after {folder}");
        assert_eq!(sources.map(hits), [all; 2], "after {folder}");
        assert_eq!(origin.count(), fetched + 2, "sources are fetched anew");
        assert!(page(), "what is no picture stays");
    }
    edge.purge(r#"{"prefix": "other.example/img/"}"#);
    assert_eq!(sources.map(hits), [all; 2]);
}

#[test]
fn a_path_form_keeps_to_the_rules_of_its_sources_route() {
    let origin = origin();
    let edge = Edge::start(&yaml(), &[&origin]);

    for way in ways("/private/a.jpg") {
        at(&way).send(&edge).expect_problem(403);
    }
    assert_eq!(origin.count(), 0);
    // No pictures are made there, so these are the application's own paths.
    for own in [
        "/img/small/plain/a.jpg",
        "/cdn-cgi/image/w=9/plain/a.jpg",
        "/img/none/a.jpg",
    ] {
        at(own).send(&edge).expect(200);
        assert_eq!(origin.seen().last().expect("asked").target, own);
    }
    for way in ways("/v1/a.jpg") {
        at(&way).send(&edge).expect(200);
    }
    assert_eq!(
        origin.seen().last().expect("asked").target,
        "/a.jpg",
        "rewritten as the route says"
    );
}

#[test]
fn what_is_not_shared_is_made_from_its_own_path_and_not_kept() {
    let origin = origin();
    let edge = Edge::start(&yaml(), &[&origin]);
    let width = |reply: &Reply| {
        assert!(!reply.is_hit() && !reply.cache_status().contains("stored"));
        let made = image::load_from_memory(&reply.body);
        made.expect("a picture").width()
    };

    for way in [
        "/img/small/secret.jpg",
        "/cdn-cgi/image/w=40/secret.jpg",
        "/_/w:40/plain/secret.jpg",
    ] {
        for _ in 0..2 {
            let reply = at(way).send(&edge).expect(200);
            assert_eq!(width(&reply), 40, "{way}");
            assert_eq!(reply.the("cache-control"), "private");
        }
    }
    for _ in 0..2 {
        let ask = at("/img/small/a.jpg").with("cache-control", "no-store");
        assert_eq!(width(&ask.send(&edge).expect(200)), 40);
    }
    assert!(
        origin
            .seen()
            .iter()
            .all(|seen| seen.target.ends_with(".jpg") && !seen.target.contains("img"))
    );
}

#[test]
fn hosts_that_are_not_listed_are_refused() {
    let origin = origin();
    let edge = Edge::start(&yaml(), &[&origin]);

    for way in [
        "/cdn-cgi/image/w=9/http://127.0.0.1/a.jpg",
        "/_/w:9/plain/https://169.254.169.254/a.jpg",
    ] {
        let problem = at(way).send(&edge).expect_problem(403);
        assert_eq!(problem.json()["type"], "urn:lakh:problem:image-source");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn answers_vary_by_what_was_looked_at() {
    let origin = origin();
    let edge = Edge::start(&yaml(), &[&origin]);
    let vary = |target: &str, fields: &[(&str, &str)]| {
        let asked = fields
            .iter()
            .fold(at(target), |ask, (name, value)| ask.with(name, value));
        let reply = asked.send(&edge).expect(200);
        (reply.all("vary").join(", "), reply.body.len())
    };

    assert_eq!(vary("/a.jpg?w=40&f=jpeg", &[]).0, "");
    assert_eq!(vary("/a.jpg?w=40", &[]).0, "Accept");
    let (names, plain) = vary("/a.jpg?w=40&dpr=auto&f=png", &[]);
    assert_eq!(names, "Sec-CH-DPR");
    let (_, twice) = vary("/a.jpg?w=40&dpr=auto&f=png", &[("sec-ch-dpr", "2")]);
    assert!(
        twice > plain,
        "{twice} bytes of twice the width, {plain} of once"
    );
    let (names, _) = vary("/a.jpg?w=auto&f=png", &[("sec-ch-width", "64")]);
    assert_eq!(names, "Sec-CH-Width");
    let (names, _) = vary("/a.jpg?w=auto&f=png", &[("width", "128")]);
    assert_eq!(names, "Sec-CH-Width, Width");
}

#[test]
fn unknown_options_are_refused_where_that_is_said_and_sides_are_steps() {
    let origin = origin();
    let strict = yaml().replace(
        "images: {paths",
        "images: {unknown: refuse, steps: [50, 100], paths",
    );
    let edge = Edge::start(&strict, &[&origin]);

    for way in [
        "/cdn-cgi/image/w=9,gamma=2/a.jpg",
        "/a.jpg?w=9&v=2",
        "/_/w:9/pix:3/plain/a.jpg",
    ] {
        at(way).send(&edge).expect_problem(400);
    }
    for width in 1..=120 {
        at(&format!("/a.jpg?w={width}&f=jpeg"))
            .send(&edge)
            .expect(200);
    }
    assert_eq!(
        edge.metric(r#"lakh_image_transforms_total{outcome="transformed"}"#),
        2.0
    );
}

fn signed_edge(origin: &Origin) -> Edge {
    let keys = "000102030405060708090a0b0c0d0e0f\n736563726574:68656c6c6f\n";
    Edge::start_with(SIGNED, &[origin], |dir| {
        std::fs::write(dir.join("keys"), keys).expect("a folder");
    })
}

fn sign(edge: &Edge, arguments: &[&str]) -> String {
    let made = edge.command(&[&["sign-url"], arguments].concat());
    assert!(made.status.success(), "{made:?}");
    String::from_utf8(made.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

#[test]
fn where_there_are_keys_only_what_is_signed_is_made() {
    let origin = origin();
    let edge = signed_edge(&origin);

    for closed in [
        "/a.jpg?w=9",
        "/a.jpg?preset=thumbnail&w=9",
        "/cdn-cgi/image/w=9/a.jpg",
        "/_/w:9/plain/a.jpg",
    ] {
        let problem = at(closed).send(&edge).expect_problem(403);
        assert_eq!(
            problem.json()["type"],
            "urn:lakh:problem:image-signature",
            "{closed}"
        );
    }
    assert_eq!(
        edge.metric(r#"lakh_refused_total{reason="image_signature"}"#),
        4.0
    );
    for open in ["/a.jpg", "/a.jpg?preset=thumbnail", "/img/thumbnail/a.jpg"] {
        at(open).send(&edge).expect(200);
    }
    let url = sign(&edge, &["/a.jpg?w=9&f=png"]);
    let whole = sign(
        &edge,
        &["http://shop.example/a.jpg?w=9&f=png", "--for", "1h"],
    );
    let cloudflare = sign(&edge, &["/cdn-cgi/image/w=9,f=png/a.jpg"]);
    let imgproxy = sign(
        &edge,
        &["--imgproxy", "/w:9/plain/a.jpg@png", "--for", "1h"],
    );
    let whole = whole
        .strip_prefix("http://shop.example")
        .expect("the host stays");
    let first = at(&url).send(&edge).expect(200);
    assert!(!first.is_hit());
    for same in [whole, &cloudflare, &imgproxy] {
        assert!(
            at(same).send(&edge).expect(200).is_hit(),
            "{same}: the signature is no part of the key"
        );
        at(&same.replace("w=9", "w=8").replace("w:9", "w:8"))
            .send(&edge)
            .expect_problem(403);
    }
    // Signed for imgproxy, with the second key.
    at("/xcV8eeqkc6-mzdwRcOQnWPYWN5NWwDX6m4nBlkMLlqI/w:9/plain/none@png")
        .send(&edge)
        .expect_problem(403);
    at("/a.jpg?w=9&e=1&s=AA").send(&edge).expect_problem(403);
}

#[test]
fn a_listed_host_gives_pictures_and_nothing_else() {
    let own = origin();
    let file = jpeg(&red_and_blue(400, 300));
    let stranger = Origin::start(move |seen| {
        let fields = [
            ("content-type", "image/jpeg"),
            ("cache-control", "max-age=60"),
            ("clear-site-data", "*"),
            ("x-odd", "1"),
        ];
        let away = [
            ("location", "http://127.0.0.1/internal"),
            ("cache-control", "max-age=60"),
        ];
        let cookie = [("set-cookie", "session=1"), ("content-type", "image/jpeg")];
        match seen.path() {
            "/away.jpg" => Answer::of(302, &away, ""),
            "/cookie.jpg" => Answer::of(200, &cookie, &file),
            "/page" => Answer::of(200, &fields, "<script>alert(1)</script>"),
            _ => Answer::of(200, &fields, &file),
        }
    });
    let listed = yaml().replace(
        "images: {paths",
        "images: {sources: [$1], private_sources: true, paths",
    );
    let edge = Edge::start(&listed, &[&own, &stranger]);
    let at_stranger = |path: &str| format!("http://{}{path}", stranger.address);
    let ask_for = |path: &str| {
        let way = format!("/cdn-cgi/image/w=40,f=jpeg/{}", at_stranger(path));
        at(&way)
            .with("cookie", "secret=1")
            .with("authorization", "Basic eDp5")
    };

    let reply = ask_for("/a.jpg?id=1").send(&edge).expect(200);
    assert_eq!(reply.the("content-type"), "image/jpeg");
    assert_eq!(
        (reply.field("x-odd"), reply.field("clear-site-data")),
        (None, None)
    );
    let same = format!("/_/w:40/plain/{}@jpg", at_stranger("/a.jpg%3Fid=1"));
    assert!(at(&same).send(&edge).expect(200).is_hit());
    let seen = stranger.the_request();
    assert_eq!(seen.target, "/a.jpg?id=1");
    assert_eq!(
        (seen.field("cookie"), seen.field("authorization")),
        (None, None)
    );
    assert_eq!(seen.field("host"), Some(&*stranger.address.to_string()));

    assert_eq!(
        ask_for("/away.jpg")
            .send(&edge)
            .expect_problem(502)
            .field("location"),
        None
    );
    for _ in 0..2 {
        let reply = ask_for("/cookie.jpg").send(&edge).expect(200);
        assert_eq!(reply.field("set-cookie"), None);
        assert!(!reply.is_hit(), "it may be one client's own");
    }
    ask_for("/page").send(&edge).expect_problem(415);
    let https = format!("/cdn-cgi/image/w=40/https://{}/a.jpg", stranger.address);
    at(&https).send(&edge).expect_problem(403);
    edge.purge(&format!("{{\"url\": \"{}\"}}", at_stranger("/a.jpg?id=1")));
    assert!(!ask_for("/a.jpg?id=1").send(&edge).expect(200).is_hit());
    let way = format!("/cdn-cgi/image/w=40,f=jpeg/{}", at_stranger("/a.jpg?id=1"));
    ask("PURGE", &way)
        .host("shop.example")
        .send(&edge)
        .expect(200);
    assert!(!ask_for("/a.jpg?id=1").send(&edge).expect(200).is_hit());
    assert_eq!(own.count(), 0);
}

#[test]
fn pictures_of_other_hosts_come_over_tls_where_that_is_listed() {
    let (own, stranger, authority) = (origin(), origin(), Authority::new());
    let secured = behind_tls(&stranger, &authority, "localhost");
    let named = format!("localhost:{}", secured.address.port());
    let listed = yaml().replace(
        "images: {paths",
        &format!("images: {{sources: [\"https://{named}\"], private_sources: true, paths"),
    );
    let trusting = |authority: &Authority, dir: &std::path::Path| {
        authority.write(dir);
        std::fs::rename(dir.join("ca.pem"), dir.join("trusted.pem")).expect("a file");
    };
    let edge = Edge::start_with(&listed, &[&own], |dir| trusting(&authority, dir));
    let ask_for = |edge: &Edge, scheme: &str| {
        at(&format!(
            "/cdn-cgi/image/w=40,f=jpeg/{scheme}://{named}/a.jpg"
        ))
        .send(edge)
    };

    let reply = ask_for(&edge, "https").expect(200);
    assert_eq!(reply.the("content-type"), "image/jpeg");
    ask_for(&edge, "http").expect_problem(403);
    edge.purge(&format!("{{\"url\": \"https://{named}/a.jpg\"}}"));
    assert!(!ask_for(&edge, "https").expect(200).is_hit());
    let names = secured.handshakes().into_iter().map(|h| h.server_name);
    assert!(
        names.eq([Some("localhost".to_owned())]),
        "one connection, kept"
    );

    let other = Edge::start_with(&listed, &[&own], |dir| trusting(&Authority::new(), dir));
    let seen = stranger.count();
    ask_for(&other, "https").expect_problem(502);
    assert_eq!((own.count(), stranger.count()), (0, seen));
}

#[test]
fn a_name_for_an_address_of_ones_own_is_no_way_in() {
    let (own, inner) = (origin(), origin());
    let named = format!("localhost:{}", inner.address.port());
    let listed = yaml().replace(
        "images: {paths",
        &format!("images: {{sources: [\"{named}\"], paths"),
    );
    let edge = Edge::start(&listed, &[&own]);

    at(&format!("/cdn-cgi/image/w=40/http://{named}/a.jpg"))
        .send(&edge)
        .expect_problem(503);

    assert_eq!(inner.count(), 0);
}

#[test]
fn words_about_a_picture_and_a_watermark_on_it() {
    let origin = origin();
    let marked = yaml().replace(
        "images: {paths",
        "images: {watermarks: {logo: {file: $dir/logo.png, width: 100}}, paths",
    );
    let prepare = |dir: &std::path::Path| {
        let green = image::RgbImage::from_pixel(40, 30, image::Rgb([0, 255, 0]));
        green.save(dir.join("logo.png")).expect("a folder");
    };
    let edge = Edge::start_with(&marked, &[&origin], prepare);

    let info = at("/a.jpg?info").send(&edge).expect(200);
    assert_eq!(
        (&info.json()["width"], &info.json()["height"]),
        (&400.into(), &300.into())
    );
    assert_eq!(
        at("/cdn-cgi/image/format=json/a.jpg")
            .send(&edge)
            .expect(200)
            .body,
        info.body
    );
    at("/page?info").send(&edge).expect_problem(415);

    let plain = at("/a.jpg?w=40&f=png").send(&edge).expect(200);
    let marked = at("/a.jpg?w=40&f=png&wm=logo").send(&edge).expect(200);
    let pixel = |reply: &Reply| {
        image::load_from_memory(&reply.body)
            .expect("a picture")
            .to_rgb8()
            .get_pixel(20, 15)
            .0
    };
    assert_eq!(pixel(&marked), [0, 255, 0]);
    assert_ne!(pixel(&plain), [0, 255, 0]);
    at("/page?w=40&wm=logo").send(&edge).expect_problem(415);
    let private = at("/secret.jpg?w=40&f=png&wm=logo").send(&edge).expect(200);
    let unstored = at("/a.jpg?w=41&f=png&wm=logo").with("cache-control", "no-store");
    let unstored = unstored.send(&edge).expect(200);
    assert_eq!(
        (pixel(&private), pixel(&unstored)),
        ([0, 255, 0], [0, 255, 0])
    );
}
