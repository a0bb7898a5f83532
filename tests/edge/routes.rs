//! Which route takes a request.

use crate::harness::{Answer, Edge, Origin, ask, eventually, get, post};

/// An edge whose routes each say their name in the answer.
fn edge(routes: &str) -> (Edge, Origin) {
    let origin = Origin::start(|seen| Answer::ok(seen.field("x-route").unwrap_or("none")));
    let named: String = routes
        .lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (name, matches) = line.trim().split_once(": ").expect("NAME: MATCH");
            format!(
                "- {{name: {name}, match: {matches}, upstream: app, request_headers: {{set: {{x-route: {name}}}}}}}\n"
            )
        })
        .collect();
    let edge = Edge::start(
        &format!("upstreams: {{app: {{servers: [$0]}}}}\nroutes:\n{named}"),
        &[&origin],
    );
    (edge, origin)
}

#[test]
fn an_exact_host_goes_before_a_wildcard_and_both_before_any() {
    let (edge, _origin) = edge(
        r#"
        any: {path: /*}
        wildcard: {host: "*.shop.example", path: /*}
        exact: {host: www.shop.example, path: /*}
        "#,
    );

    for (host, route) in [
        ("www.shop.example", "exact"),
        ("WWW.Shop.Example", "exact"),
        ("www.shop.example:8080", "exact"),
        ("img.shop.example", "wildcard"),
        ("shop.example", "any"),
        ("notshop.example", "any"),
        ("other.example", "any"),
    ] {
        assert_eq!(
            get("/").host(host).send(&edge).expect(200).text(),
            route,
            "{host}"
        );
    }
}

#[test]
fn the_longest_path_wins_whatever_the_order() {
    let (edge, _origin) = edge(
        "
        all: {path: /*}
        api: {path: /api/*}
        users: {path: /api/users/*}
        me: {path: /api/users/me}
        ",
    );

    for (path, route) in [
        ("/", "all"),
        ("/apix", "all"),
        ("/api/x", "api"),
        ("/api/", "api"),
        ("/api/users/7", "users"),
        ("/api/users/me", "me"),
        ("/api/users/me?x=1", "me"),
        ("/api/users/me/more", "users"),
    ] {
        assert_eq!(get(path).send(&edge).expect(200).text(), route, "{path}");
    }
}

#[test]
fn a_host_goes_before_a_longer_path() {
    let (edge, _origin) = edge(
        "
        path: {path: /a/b/*}
        host: {host: shop.example, path: /*}
        ",
    );

    assert_eq!(
        get("/a/b/c").host("shop.example").send(&edge).text(),
        "host"
    );
    assert_eq!(
        get("/a/b/c").host("else.example").send(&edge).text(),
        "path"
    );
}

#[test]
fn methods_and_fields_are_conditions() {
    let (edge, _origin) = edge(
        r#"
        plain: {path: /*}
        writes: {path: /*, methods: [POST, PUT]}
        beta: {path: /*, header: {x-beta: "1"}}
        "#,
    );

    assert_eq!(get("/").send(&edge).text(), "plain");
    assert_eq!(post("/", "").send(&edge).text(), "writes");
    assert_eq!(ask("DELETE", "/").send(&edge).text(), "plain");
    assert_eq!(get("/").with("x-beta", 1).send(&edge).text(), "beta");
    assert_eq!(get("/").with("x-beta", 2).send(&edge).text(), "plain");
}

#[test]
fn of_equals_the_first_written_wins() {
    let (edge, _origin) = edge(
        "
        first: {path: /x/*}
        second: {path: /x/*}
        ",
    );

    assert_eq!(get("/x/1").send(&edge).text(), "first");
}

#[test]
fn no_route_is_a_plain_404() {
    let (edge, origin) = edge("shop: {host: shop.example, path: /*, methods: [GET]}");
    for ask in [
        get("/"),
        get("/").host("else.example"),
        post("/", "x").host("shop.example"),
    ] {
        let reply = ask.send(&edge).expect(404);
        assert!(
            reply.the("content-type").starts_with("text/plain"),
            "{reply:?}"
        );
        assert!(!reply.text().is_empty());
        assert!(!reply.the("x-request-id").is_empty());
    }
    assert_eq!(origin.count(), 0);
    let mut client = edge.connect();
    get("/").on(&mut client).expect(404);
    get("/").host("shop.example").on(&mut client).expect(200);
}

#[test]
fn a_prefix_is_stripped_and_fields_are_edited() {
    let origin =
        Origin::start(|_| Answer::of(200, &[("server", "secret/1.0"), ("x-own", "1")], "hello"));
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
routes:
- name: v1
  match: {path: /v1/*}
  upstream: app
  rewrite: {strip_prefix: /v1}
  request_headers: {set: {x-from: lakh}, remove: [x-secret]}
  response_headers: {set: {x-frame-options: DENY}, remove: [server]}
",
        &[&origin],
    );

    let reply = get("/v1/users?q=/v1/x")
        .with("x-secret", "s")
        .with("x-from", "me")
        .send(&edge)
        .expect(200);

    let seen = origin.the_request();
    assert_eq!(seen.target, "/users?q=/v1/x");
    assert_eq!(seen.the("x-from"), "lakh");
    assert_eq!(seen.field("x-secret"), None);
    assert_eq!(reply.the("x-frame-options"), "DENY");
    assert_eq!(reply.field("server"), None);
    assert_eq!(reply.the("x-own"), "1");
}

#[test]
fn servers_are_asked_for_another_path() {
    let origin = Origin::start(|seen| {
        let kept = seen.path().starts_with("/files");
        let control = if kept { "max-age=60" } else { "no-store" };
        Answer::of(200, &[("cache-control", control)], seen.target.clone())
    });
    let edge = Edge::start(
        "
upstreams: {app: {servers: [$0]}}
caches: {pages: {memory: 64MiB}}
routes:
- {name: photos, match: {path: /photos/*}, upstream: app, cache: {in: pages}, rewrite: {path: /files/*}}
- {name: v2, match: {path: /v2/*}, upstream: app, rewrite: {strip_prefix: /v2, path: /new/*}}
- {name: one, match: {path: /one}, upstream: app, rewrite: {path: /fixed.html}}
",
        &[&origin],
    );
    for (asked, got) in [
        ("/photos/a/b.jpg?x=1", "/files/a/b.jpg?x=1"),
        ("/photos/", "/files/"),
        ("/v2/users?y", "/new/users?y"),
        ("/one?z", "/fixed.html?z"),
    ] {
        assert_eq!(get(asked).send(&edge).expect(200).text(), got);
        assert_eq!(post(asked, "body").send(&edge).expect(200).text(), got);
    }
    // The write has taken it back; then it is stored by the path that clients ask for.
    eventually("it is stored", || {
        get("/photos/a/b.jpg?x=1").send(&edge).is_hit()
    });
}

#[test]
fn routes_lead_to_their_own_upstreams() {
    let (shop, blog) = (Origin::saying("shop"), Origin::saying("blog"));
    let edge = Edge::start(
        "
upstreams: {shop: {servers: [$0]}, blog: {servers: [$1]}}
routes:
- {name: blog, match: {path: /blog/*}, upstream: blog}
- {name: shop, match: {path: /*}, upstream: shop}
",
        &[&shop, &blog],
    );

    assert_eq!(get("/blog/1").send(&edge).text(), "blog");
    assert_eq!(get("/cart").send(&edge).text(), "shop");
    assert_eq!((shop.count(), blog.count()), (1, 1));
}
