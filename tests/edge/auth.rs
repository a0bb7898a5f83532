//! Who asks: tokens, API keys, and what becomes of their claims.

use crate::harness::tokens::{self, Signer, hs256, with_header};
use crate::harness::{
    Answer, Ask, Edge, Gate, Origin, Reply, Seen, ask, eventually, get, h2c, post,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

const SECRET: &str = "a secret of these tests, and of no other edge";

/// One route with a token by HS256, whose secret is in `$dir/secret`.
const PEOPLE: &str = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {}}
auth: {people: {jwt: {secret_file: $dir/secret, issuer: us, leeway: 0s}}}
routes:
- {name: open, match: {path: /open/*}, upstream: app}
- {name: admin, match: {path: /admin/*}, upstream: app, auth: people, require: {role: admin, scope: write}}
- {name: cached, match: {path: /cached/*}, upstream: app, auth: people, cache: {in: pages, ttl: 1m}}
- {name: all, match: {path: /*}, upstream: app, auth: people}
";

/// By what is proven, one takes another route than the rest.
#[test]
fn claims_choose_the_route() {
    let (all, editors) = (Origin::saying("all"), Origin::saying("editors"));
    let edge = start(
        "
upstreams: {app: {servers: [$0]}, new: {servers: [$1]}}
auth: {people: {jwt: {secret_file: $dir/secret, issuer: us, leeway: 0s}}}
routes:
- {name: all, match: {path: /*}, upstream: app}
- {name: editors, match: {path: /*, claim: {role: editor, sub: ann}}, auth: people, upstream: new}
",
        &[&all, &editors],
    );
    let ask = |token: &str| bearer(get("/"), token).send(&edge).expect(200).text();

    assert_eq!(ask(&token(json!({"role": "editor"}))), "editors");
    assert_eq!(
        ask(&token(json!({"role": ["reader", "editor"]}))),
        "editors"
    );
    assert_eq!(ask(&token(json!({"role": "reader"}))), "all");
    assert_eq!(ask(&token(json!({"role": "editor", "sub": "bob"}))), "all");
    assert_eq!(
        ask(&token(json!({"role": "editor", "exp": now() - 10}))),
        "all"
    );
    assert_eq!(
        ask(&hs256(
            b"another secret, of nobody here at all",
            &claims(json!({"role": "editor"}))
        )),
        "all"
    );
    assert_eq!(get("/").send(&edge).expect(200).text(), "all");
    // What a client says of itself proves nothing.
    let claimed = get("/")
        .with("x-claim-role", "editor")
        .with("x-claim-sub", "ann");
    assert_eq!(claimed.send(&edge).expect(200).text(), "all");
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "ann", "iss": "us", "exp": now() + 600});
    for (name, value) in more.as_object().expect("claims") {
        claims[name] = value.clone();
    }
    claims
}

fn token(more: Value) -> String {
    hs256(SECRET.as_bytes(), &claims(more))
}

fn bearer(ask: Ask, token: &str) -> Ask {
    ask.with("authorization", format!("Bearer {token}"))
}

/// The secret is written before the edge reads its configuration.
fn start(yaml: &str, origins: &[&Origin]) -> Edge {
    Edge::start_with(yaml, origins, |dir| {
        std::fs::write(dir.join("secret"), SECRET).expect("the folder is ours");
    })
}

#[track_caller]
fn expect_401(reply: Reply, kind: &str, challenge: &str) {
    let reply = reply.expect_problem(401);
    assert_eq!(reply.json()["type"], format!("urn:lakh:problem:{kind}"));
    let said = reply.the("www-authenticate");
    assert!(said.contains(challenge), "{said}");
    assert_eq!(reply.the("cache-control"), "no-store");
}

#[test]
fn only_a_sound_token_gets_through() {
    let origin = Origin::saying("hello");
    let edge = start(PEOPLE, &[&origin]);
    let missing = "Bearer realm=\"people\"";
    let reply = get("/").send(&edge);
    assert_eq!(
        reply.the("www-authenticate"),
        missing,
        "no error code: RFC 6750 §3.1"
    );
    expect_401(reply, "credentials-missing", missing);
    expect_401(h2c(edge.web, &get("/")), "credentials-missing", missing);
    expect_401(post("/", "x").send(&edge), "credentials-missing", missing);
    let secret = SECRET.as_bytes();
    let none = with_header(&json!({"alg": "none"}), secret, &claims(json!({})));
    for (bad, why) in [
        (token(json!({"exp": now() - 1})), "it has expired"),
        (token(json!({"nbf": now() + 60})), "it is not valid yet"),
        (
            token(json!({"iss": "them"})),
            "its issuer is not taken here",
        ),
        (token(json!({"aud": "them"})), "it is for another audience"),
        (token(json!({"exp": null})), "it is malformed"),
        (
            hs256(secret, &json!({"iss": "us"})),
            "it does not say when it expires",
        ),
        (
            hs256(b"x", &claims(json!({}))),
            "its signature does not fit",
        ),
        (none, "its algorithm is not allowed here"),
        ("a.b.c".to_owned(), "it is malformed"),
        ("a".repeat(17_000), "it is too long"),
    ] {
        let said = format!("error=\"invalid_token\", error_description=\"{why}\"");
        expect_401(
            bearer(get("/"), &bad).send(&edge),
            "credentials-invalid",
            &said,
        );
    }
    let twice = bearer(bearer(get("/"), &token(json!({}))), &token(json!({})));
    expect_401(
        twice.send(&edge),
        "credentials-invalid",
        "there are several",
    );
    assert_eq!(origin.count(), 0);

    let sound = token(json!({}));
    bearer(get("/"), &sound).send(&edge).expect(200);
    h2c(edge.web, &bearer(get("/"), &sound)).expect(200);
    bearer(post("/", "x"), &sound).send(&edge).expect(200);
    get("/open/").send(&edge).expect(200);
    assert_eq!(origin.count(), 4);
    assert_eq!(
        edge.metric(r#"lakh_auth_total{auth="people",result="verified"}"#),
        1.0
    );
    assert_eq!(
        edge.metric(r#"lakh_auth_total{auth="people",result="cached"}"#),
        2.0
    );
    assert_eq!(
        edge.metric(r#"lakh_refused_total{route="all",reason="token"}"#),
        14.0
    );
}

#[test]
fn a_verified_token_ends_when_it_says_so() {
    let origin = Origin::saying("hello");
    let edge = start(PEOPLE, &[&origin]);
    let short = token(json!({"exp": now() + 2}));
    bearer(get("/"), &short).send(&edge).expect(200);
    eventually("it has expired", || {
        bearer(get("/"), &short).send(&edge).status == 401
    });
}

#[test]
fn claims_reach_the_origin_and_the_clients_own_never_do() {
    let origin = Origin::saying("hello");
    let edge = start(PEOPLE, &[&origin]);
    let sent = token(json!({
        "role": "a,b", "roles": ["x", "y,z"], "n": 7, "ok": true, "Name": "Jürgen",
        "https://x.example/tier": "gold", "deep": {"a": 1}, "long": "x".repeat(2000),
    }));
    let forged = |ask: Ask| {
        ask.with("X-Claim-Sub", "root")
            .with("x_claim_role", "admin")
            .with("x-claim_role", "admin")
            .with("x.claim-more", "1")
            .with("connection", "keep-alive, x-claim-sub")
    };
    forged(bearer(get("/"), &sent)).send(&edge).expect(200);
    forged(get("/open/")).send(&edge).expect(200);
    let h2 = bearer(get("/"), &sent)
        .with("x-claim-sub", "root")
        .with("x_claim_sub", "root");
    h2c(edge.web, &h2).expect(200);
    let seen = origin.seen();
    let told = |seen: &Seen| {
        let claim = |name: &str| name.starts_with('x') && name.contains("claim");
        let fields = seen.fields.iter().filter(|(name, _)| claim(name));
        let mut fields: Vec<_> = fields.map(|(n, v)| format!("{n}: {v}")).collect();
        fields.sort();
        fields.retain(|field| !field.starts_with("x-claim-exp"));
        fields
    };
    let expected = [
        "x-claim-https---x-example-tier: gold",
        "x-claim-iss: us",
        "x-claim-n: 7",
        "x-claim-name: J%C3%BCrgen",
        "x-claim-ok: true",
        "x-claim-role: a,b",
        "x-claim-roles: x,y%2Cz",
        "x-claim-sub: ann",
    ];
    assert_eq!(told(&seen[0]), expected);
    assert_eq!(told(&seen[1]), [] as [&str; 0]);
    assert_eq!(told(&seen[2]), expected);
}

#[test]
fn a_good_token_may_claim_too_little() {
    let origin = Origin::saying("hello");
    let edge = start(PEOPLE, &[&origin]);
    let ask = |claims: Value| bearer(get("/admin/"), &token(claims)).send(&edge);
    let reply = ask(json!({"role": "user", "scope": "write"})).expect_problem(403);
    assert_eq!(
        reply.the("www-authenticate"),
        "Bearer realm=\"people\", error=\"insufficient_scope\""
    );
    assert_eq!(reply.json()["type"], "urn:lakh:problem:claims-missing");
    let reply = ask(json!({"role": "admin", "scope": "read"})).expect_problem(403);
    assert!(reply.the("www-authenticate").ends_with(", scope=\"write\""));
    ask(json!({"role": "admin,x", "scope": "write"})).expect_problem(403);
    ask(json!({"role": "admin", "scope": "read write"})).expect(200);
    ask(json!({"role": ["user", "admin"], "scope": "write"})).expect(200);
    assert_eq!(
        edge.metric(r#"lakh_refused_total{route="admin",reason="claims"}"#),
        3.0
    );
}

#[test]
fn what_is_stored_is_for_those_who_may_ask() {
    let origin = Origin::start(|seen| match seen.path() {
        "/cached/public" => Answer::of(200, &[("cache-control", "public, max-age=60")], "all"),
        "/cached/vary" => Answer::of(
            200,
            &[
                ("cache-control", "public, max-age=60"),
                ("vary", "x-claim-sub"),
            ],
            seen.field("x-claim-sub").unwrap_or("nobody"),
        ),
        _ => Answer::ok(seen.field("x-claim-sub").unwrap_or("nobody")),
    });
    let edge = start(PEOPLE, &[&origin]);
    let (ann, bob) = (token(json!({})), token(json!({"sub": "bob"})));
    let ask = |target: &str, token: &str| bearer(get(target), token).send(&edge).expect(200);

    ask("/cached/public", &ann);
    assert!(ask("/cached/public", &bob).is_hit());
    expect_401(
        get("/cached/public").send(&edge),
        "credentials-missing",
        "Bearer",
    );
    expect_401(
        h2c(edge.web, &get("/cached/public")),
        "credentials-missing",
        "Bearer",
    );

    for target in ["/cached/own", "/cached/vary"] {
        for (token, name) in [(&ann, "ann"), (&bob, "bob"), (&ann, "ann")] {
            let reply = ask(target, token);
            assert_eq!(reply.text(), name, "{target}");
            assert!(!reply.is_hit(), "{target}: {reply:?}");
        }
    }
}

#[test]
fn a_token_in_a_cookie_and_a_key_in_a_field_count_as_authorization() {
    let origin = Origin::start(|seen| Answer::ok(seen.field("x-claim-sub").unwrap_or("nobody")));
    let yaml = "
upstreams: {app: {servers: [$0]}}
caches: {pages: {}}
auth:
  cookie: {jwt: {secret_file: $dir/secret, cookie: session}, optional: true}
  key: {api_keys: {file: $dir/keys}}
routes:
- {name: cookie, match: {path: /cookie/*}, upstream: app, auth: cookie, cache: {in: pages, ttl: 1m}}
- {name: key, match: {path: /key/*}, upstream: app, auth: key, cache: {in: pages, ttl: 1m}}
";
    let keys = ["ann", "bob"].map(|name| format!("a-long-enough-key-of-{name}"));
    let lines = keys.each_ref().map(|key| {
        let name = key.rsplit('-').next().expect("a name");
        lakh::guard::api_key_line(name, key.as_bytes(), &[]).expect("a line")
    });
    let edge = Edge::start_with(yaml, &[&origin], |dir| {
        std::fs::write(dir.join("secret"), SECRET).expect("the folder is ours");
        std::fs::write(dir.join("keys"), lines.join("\n")).expect("the folder is ours");
    });
    for (name, key) in ["ann", "bob", "ann"]
        .iter()
        .zip([&keys[0], &keys[1], &keys[0]])
    {
        let reply = get("/key/x").with("x-api-key", key).send(&edge).expect(200);
        assert_eq!((reply.text().as_str(), reply.is_hit()), (*name, false));
        let cookie = format!("a=b; session={}", token(json!({"sub": name})));
        let reply = get("/cookie/x")
            .with("cookie", cookie)
            .send(&edge)
            .expect(200);
        assert_eq!((reply.text().as_str(), reply.is_hit()), (*name, false));
    }
    let challenge = "ApiKey realm=\"key\", header=\"x-api-key\"";
    expect_401(get("/key/x").send(&edge), "credentials-missing", challenge);
    let wrong = get("/key/x").with("x-api-key", "another-key-0123456789");
    expect_401(wrong.send(&edge), "credentials-invalid", challenge);
    let bad = get("/cookie/x").with("cookie", "session=x.y.z").send(&edge);
    expect_401(bad, "credentials-invalid", "invalid_token");
    let reply = get("/cookie/y").send(&edge).expect(200);
    assert_eq!(reply.text(), "nobody");
    assert!(
        get("/cookie/y").send(&edge).is_hit(),
        "nobody's is everybody's"
    );
}

#[test]
fn a_reload_takes_another_secret_and_keeps_no_verification() {
    let origin = Origin::saying("hello");
    let edge = start(PEOPLE, &[&origin]);
    let sound = token(json!({}));
    bearer(get("/"), &sound).send(&edge).expect(200);
    std::fs::write(
        edge.dir.join("secret"),
        "another secret, as long as it has to be",
    )
    .expect("the folder is ours");
    edge.reload(PEOPLE);
    bearer(get("/"), &sound).send(&edge).expect_problem(401);
    std::fs::write(edge.dir.join("secret"), "short").expect("the folder is ours");
    edge.reload_refused(PEOPLE);
    std::fs::write(edge.dir.join("secret"), SECRET).expect("the folder is ours");
    edge.reload(PEOPLE);
    bearer(get("/"), &sound).send(&edge).expect(200);
}

#[test]
fn claims_pick_servers_and_count_in_limits() {
    let (blue, green) = (Origin::saying("blue"), Origin::saying("green"));
    let edge = start(
        "
upstreams: {app: {servers: [$0, $1], balance: hash, hash_key: 'claim:sub'}, blue: {servers: [$0]}, green: {servers: [$1]}}
auth: {people: {jwt: {secret_file: $dir/secret}}}
rate_limits: {each: {key: 'claim:sub', rate: 1/min, burst: 3}, guesses: {key: client_address, rate: 1/min, burst: 40}}
routes:
- {name: hashed, match: {path: /hashed}, upstream: app, auth: people}
- {name: split, match: {path: /split}, upstream: {blue: 50%, green: 50%}, split_key: 'claim:sub', auth: people}
- {name: limited, match: {path: /limited}, upstream: app, auth: people, rate_limits: [each, guesses]}
",
        &[&blue, &green],
    );
    let ask =
        |target: &str, name: &str| bearer(get(target), &token(json!({"sub": name}))).send(&edge);
    let mut sides = [0, 0];
    for n in 0..20 {
        let side = || ask("/split", &format!("user{n}")).expect(200).text();
        let first = side();
        sides[usize::from(first == "green")] += 1;
        assert!((0..3).all(|_| side() == first), "user{n}");
        ask("/hashed", &format!("user{n}")).expect(200);
    }
    assert!(sides.iter().all(|side| *side > 0), "{sides:?}");
    let hashed = |origin: &Origin| {
        let mut seen = origin.seen().into_iter();
        seen.any(|seen| seen.path() == "/hashed")
    };
    assert!(hashed(&blue) && hashed(&green));

    for name in ["ann", "bob"] {
        for _ in 0..3 {
            ask("/limited", name).expect(200);
        }
        ask("/limited", name).expect_problem(429);
    }
    let guess = || {
        get("/limited")
            .with("authorization", "Bearer a.b.c")
            .send(&edge)
            .status
    };
    eventually("who guesses is counted too", || match guess() {
        401 => false,
        status => status == 429,
    });
}

/// An issuer whose keys a test decides, and may hold back.
struct Issuer {
    origin: Origin,
    served: Arc<Mutex<Value>>,
}

impl Issuer {
    fn of(keys: &[(&Signer, &str)]) -> Issuer {
        Issuer::start(keys, |answer| answer)
    }

    fn start(
        keys: &[(&Signer, &str)],
        how: impl Fn(Answer) -> Answer + Send + Sync + 'static,
    ) -> Issuer {
        let served = Arc::new(Mutex::new(set(keys)));
        let document = served.clone();
        let origin = Origin::start(move |_| {
            let text = document.lock().expect("no panic").to_string();
            how(Answer::of(
                200,
                &[("content-type", "application/json")],
                text,
            ))
        });
        Issuer { origin, served }
    }

    fn serve(&self, keys: &[(&Signer, &str)]) {
        *self.served.lock().expect("no panic") = set(keys);
    }
}

fn set(keys: &[(&Signer, &str)]) -> Value {
    let keys: Vec<_> = keys.iter().map(|(signer, kid)| signer.jwk(kid)).collect();
    json!({ "keys": keys })
}

const PARTNERS: &str = "
upstreams: {app: {servers: [$0]}}
auth: {partners: {jwt: {jwks_url: 'http://$1/jwks', refresh: 1h}}}
routes: [{name: all, match: {path: /*}, upstream: app, auth: partners}]
";

#[test]
fn an_issuers_keys_are_fetched_rotate_and_outlive_it() {
    let (old, new) = (tokens::ec(), tokens::ed());
    let origin = Origin::saying("hello");
    let mut issuer = Issuer::of(&[(&old, "old"), (&tokens::RSA, "rsa")]);
    let edge = Edge::start(PARTNERS, &[&origin, &issuer.origin]);
    let ask = |signer: &Signer, kid: &str| {
        let token = signer.sign(Some(kid), &claims(json!({})));
        bearer(get("/"), &token).send(&edge)
    };
    ask(&old, "old").expect(200);
    ask(&tokens::RSA, "rsa").expect(200);
    assert_eq!(issuer.origin.count(), 1, "once, at the start");
    let first = old.sign(Some("old"), &claims(json!({})));
    bearer(get("/"), &first).send(&edge).expect(200);

    issuer.serve(&[(&new, "new")]);
    ask(&new, "new").expect(200);
    assert_eq!(issuer.origin.count(), 2, "the unknown key had it fetched");
    bearer(get("/"), &first).send(&edge).expect_problem(401);
    for n in 0..50 {
        ask(&old, &format!("unknown{n}")).expect_problem(401);
    }
    assert!(issuer.origin.count() <= 4, "{}", issuer.origin.count());

    issuer.origin.stop();
    ask(&new, "new").expect(200);
    eventually("an unknown key has it tried in vain", || {
        ask(&old, "old").expect_problem(401);
        edge.metric(r#"lakh_auth_keys_stale{auth="partners"}"#) == 1.0
    });
    ask(&new, "new").expect(200);
    edge.reload(&PARTNERS.replace("refresh: 1h", "refresh: 1h, leeway: 1m"));
    ask(&new, "new").expect(200);
}

/// Some issuers call each of their keys the same, or nothing.
#[test]
fn a_key_may_be_another_under_its_old_name() {
    let (old, new) = (tokens::ec(), tokens::ec());
    let origin = Origin::saying("hello");
    let issuer = Issuer::of(&[(&old, "key")]);
    let edge = Edge::start(PARTNERS, &[&origin, &issuer.origin]);
    let ask = |signer: &Signer| {
        let token = signer.sign(Some("key"), &claims(json!({})));
        bearer(get("/"), &token).send(&edge)
    };
    ask(&old).expect(200);
    issuer.serve(&[(&new, "key")]);
    ask(&new).expect(200);
    for _ in 0..50 {
        expect_401(ask(&old), "credentials-invalid", "invalid_token");
    }
    assert!(issuer.origin.count() <= 4, "{}", issuer.origin.count());
}

#[test]
fn without_any_keys_nobody_is_judged() {
    let signer = tokens::ec();
    let origin = Origin::saying("hello");
    let gate = Gate::default();
    let issuer = Issuer::start(&[(&signer, "k")], {
        let gate = gate.clone();
        move |answer| answer.after(&gate)
    });
    let edge = Edge::start(PARTNERS, &[&origin, &issuer.origin]);
    let token = signer.sign(Some("k"), &claims(json!({})));
    let asked = Instant::now();
    let reply = bearer(get("/"), &token).send(&edge).expect_problem(503);
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(reply.json()["type"], "urn:lakh:problem:keys-unavailable");
    assert_eq!(reply.the("retry-after"), "5");
    expect_401(get("/").send(&edge), "credentials-missing", "Bearer");
    gate.open();
    eventually("the keys have come", || {
        bearer(get("/"), &token).send(&edge).status == 200
    });
}

#[test]
fn a_public_key_in_a_file_is_no_secret() {
    let origin = Origin::saying("hello");
    for signer in [&*tokens::RSA, &tokens::ec(), &tokens::ed()] {
        let yaml = "
upstreams: {app: {servers: [$0]}}
auth: {people: {jwt: {public_key_file: $dir/key.pem}}}
routes: [{name: all, match: {path: /*}, upstream: app, auth: people}]
";
        let edge = Edge::start_with(yaml, &[&origin], |dir| {
            std::fs::write(dir.join("key.pem"), &signer.pem).expect("the folder is ours");
        });
        let sound = signer.sign(None, &claims(json!({})));
        bearer(get("/"), &sound).send(&edge).expect(200);
        let forged = hs256(signer.pem.as_bytes(), &claims(json!({})));
        bearer(get("/"), &forged).send(&edge).expect_problem(401);
    }
}

#[test]
fn a_key_is_made_on_the_command_line() {
    let origin = Origin::saying("hello");
    let edge = Edge::before(&origin);
    let made = edge.run(&["hash-key", "ann", "class=truck", "--new"]);
    let line = String::from_utf8(made.stdout).expect("text");
    let key = String::from_utf8(made.stderr).expect("text");
    assert!(
        line.starts_with("ann sha256:") && line.ends_with(" class=truck\n"),
        "{line}"
    );
    std::fs::write(edge.dir.join("keys"), &line).expect("the folder is ours");
    edge.reload(
        "
upstreams: {app: {servers: [$0]}}
auth: {devices: {api_keys: {file: $dir/keys, header: x-device-key}}}
routes: [{name: all, match: {path: /*}, upstream: app, auth: devices}]
",
    );
    get("/")
        .with("x-device-key", key.trim())
        .send(&edge)
        .expect(200);
    assert_eq!(origin.the_request().the("x-claim-class"), "truck");
    ask("DELETE", "/").send(&edge).expect_problem(401);
    assert!(!edge.run(&["hash-key", "ann", "class"]).status.success());
}
