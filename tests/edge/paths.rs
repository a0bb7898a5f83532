//! A path's spelling: what a route says of a path holds however that is written.

use crate::harness::*;

const ROUTES: &str = "
listeners: {web: {address: $web, http3: true, tls: {certificates: [{cert_file: $dir/site.pem, key_file: $dir/site.key}]}}}
upstreams: {app: {servers: [$0]}}
routes:
- {name: admin, match: {path: /admin/*}, upstream: app, deny: [127.0.0.0/8]}
- {name: moved, match: {path: /v1/*}, upstream: app, rewrite: {strip_prefix: /v1}}
- {name: rest, match: {path: /*}, upstream: app}
";

fn echo() -> Origin {
    Origin::start(|seen| Answer::ok(seen.target.clone()))
}

/// What three clients are told that speak HTTP/1.1, 2 and 3.
fn asked(edge: &Edge, trust: &Trust, target: &str) -> [Reply; 3] {
    let ask = get(target);
    [
        ask.on(&mut trust.connect(edge, "edge.test")),
        h2(edge.web, &trust.0, &ask),
        Http3::connect(edge.web, trust, "edge.test").send(&ask),
    ]
}

#[test]
fn no_spelling_leads_around_a_route() {
    let (origin, authority) = (echo(), Authority::new());
    let edge = Edge::start_with(ROUTES, &[&origin], |dir| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    });
    let trust = Trust::of(&authority);

    for (target, status) in [
        ("/admin/x", 403),
        ("/%61dmin/x", 403),
        ("/%61%64%6d%69%6e/%ff", 403),
        ("//admin/x?y", 403),
        ("/./admin/x", 403),
        ("/x/../admin/x", 400),
        ("/x/%2e%2e/admin/x", 400),
        ("/x/..;/admin/x", 400),
        ("/x%2f..%2fadmin/x", 400),
        ("/admin%2fx", 403),
        ("/admin%2Fx", 403),
        ("/admin\\x", 403),
        ("/admin%5Cx", 403),
        ("/admin;a=b/x", 403),
        ("/../admin/x", 400),
        ("/%2e%2e/x", 400),
        ("/admin/../x", 400),
        ("/x%00", 400),
    ] {
        for reply in asked(&edge, &trust, target) {
            assert_eq!(reply.status, status, "{target}: {reply:?}");
        }
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn what_is_let_in_goes_on_as_it_was_written() {
    let (origin, authority) = (echo(), Authority::new());
    let edge = Edge::start_with(ROUTES, &[&origin], |dir| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    });
    let trust = Trust::of(&authority);

    for (target, server) in [
        (
            "//x/./y%2Fz%41/../b?c=../%2e",
            "//x/./y%2Fz%41/../b?c=../%2e",
        ),
        ("/adminx/%61;b=c", "/adminx/%61;b=c"),
        ("/v1/a%2Fb//c;d?e", "/a%2Fb//c;d?e"),
        ("//%761/a%41?e", "/aA?e"),
        ("/v1/a/../../v1/b?e", "/b?e"),
    ] {
        for reply in asked(&edge, &trust, target) {
            assert_eq!(reply.expect(200).text(), server, "{target}");
        }
    }
}

#[test]
fn a_purge_takes_all_spellings() {
    let origin = Origin::start(|seen| {
        Answer::of(200, &[("cache-control", "max-age=60")], seen.target.clone())
    });
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 8MiB}}
routes: [{name: all, match: {path: /*}, upstream: app, cache: {in: pages, purge_from: [127.0.0.1]}}]
",
        &[&origin],
    );
    let spellings = ["/a/b", "/%61/b", "//a/./b", "/a%2Fb"];

    for by in spellings {
        for target in spellings {
            get(target).send(&edge).expect(200);
            let stored = get(target).send(&edge).expect(200);
            assert!(stored.is_hit(), "{target}");
            assert_eq!(stored.text(), target, "each is an object of its own");
        }
        ask("PURGE", by).send(&edge).expect(200);
        for target in spellings {
            let reply = get(target).send(&edge).expect(200);
            assert!(!reply.is_hit(), "{target} by {by}");
        }
    }
}

/// RFC 9110 §7.6.3: by what the request came.
#[test]
fn via_names_the_version_that_was_spoken() {
    let (origin, authority) = (
        Origin::start(|seen| Answer::ok(seen.the("via"))),
        Authority::new(),
    );
    let edge = Edge::start_with(ROUTES, &[&origin], |dir| {
        authority.sign("edge.test").write(dir, "site");
        authority.write(dir);
    });
    let said = asked(&edge, &Trust::of(&authority), "/").map(|reply| reply.expect(200).text());
    assert_eq!(said, ["1.1 lakh", "2.0 lakh", "3.0 lakh"]);
}

/// A rendition is for the route of its source, however either is spelled.
#[test]
fn a_source_is_reached_by_no_spelling_either() {
    let origin = echo();
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 8MiB}}
images: {presets: {small: {width: 10}}}
routes:
- {name: private, match: {path: /private/*}, upstream: app, deny: [127.0.0.0/8], images: true, cache: {in: pages}}
- {name: rest, match: {path: /*}, upstream: app, images: true, cache: {in: pages}}
",
        &[&origin],
    );
    for (target, status) in [
        ("/img/small/private/1.jpg", 403),
        ("/img/small/%70rivate/1.jpg", 403),
        ("/img/small//private/1.jpg", 403),
        ("/img/small/x/../private/1.jpg", 400),
        ("/img/small/../../private/1.jpg", 400),
        ("/private/1.jpg?width=10", 403),
        ("//private/1.jpg?width=10", 403),
    ] {
        assert_eq!(get(target).send(&edge).status, status, "{target}");
    }
    assert_eq!(origin.count(), 0);
}
