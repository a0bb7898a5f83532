//! Clients with certificates: who may come, and what the origin is told of them.

use crate::harness::{Answer, Authority, Edge, Identity, Origin, Trust, ask, get, h2, post};
use crate::tls::start;
use std::fs;

const REQUIRED: &str = ", client_ca_file: $dir/ca.pem";
const OPTIONAL: &str = ", client_ca_file: $dir/ca.pem, client_auth: optional";

fn refused(edge: &Edge, trust: &Trust) -> bool {
    // In TLS 1.3 the client is through before the server has looked.
    match trust.try_connect(edge.web, "edge.test") {
        Ok(mut client) => get("/").try_on(&mut client).is_err(),
        Err(_) => true,
    }
}

fn fingerprint(identity: &Identity) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(identity.der());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn only_whom_the_authority_knows_comes_in() {
    let (origin, authority, stranger) =
        (Origin::saying("hello"), Authority::new(), Authority::new());
    let edge = start(&origin, &authority, REQUIRED, "");
    let anna = authority.sign_client("anna");
    let known = Trust::showing(&authority, &anna);

    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = Trust::speaking(&authority, &[version], Some(&anna));
        get("/")
            .on(&mut trust.connect(&edge, "edge.test"))
            .expect(200);
        // Resumed, she is who she was.
        get("/")
            .on(&mut trust.connect(&edge, "edge.test"))
            .expect(200);
        assert!(refused(
            &edge,
            &Trust::speaking(&authority, &[version], None)
        ));
    }
    post("/", "text")
        .on(&mut known.connect(&edge, "edge.test"))
        .expect(200);
    h2(edge.web, &known.0, &get("/")).expect(200);
    let of_stranger = Trust::showing(&authority, &stranger.sign_client("anna"));
    assert!(refused(&edge, &of_stranger));

    let seen = origin.seen();
    assert_eq!(seen.len(), 6);
    for seen in &seen {
        assert_eq!(seen.the("x-client-cert-subject"), "CN=anna,O=Acme");
        assert_eq!(seen.the("x-client-cert-san"), "DNS:anna.clients.test");
        assert_eq!(seen.the("x-client-cert-fingerprint"), fingerprint(&anna));
    }
}

#[test]
fn nobody_says_that_of_themselves() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, OPTIONAL, "");
    let anna = Trust::showing(&authority, &authority.sign_client("anna"));
    let nobody = Trust::of(&authority);
    let lies = |method: &str| {
        ask(method, "/x")
            .with("x-client-cert-subject", "CN=root")
            .with("X_Client_Cert_Fingerprint", "00")
            .with("x-client-cert-verified", "SUCCESS")
    };

    for method in ["GET", "POST"] {
        let lies = lies(method).with("content-length", 0);
        lies.on(&mut nobody.connect(&edge, "edge.test")).expect(200);
        lies.on(&mut anna.connect(&edge, "edge.test")).expect(200);
    }
    h2(edge.web, &nobody.0, &lies("GET")).expect(200);

    let seen = origin.seen();
    assert_eq!(seen.len(), 5);
    for (at, seen) in seen.iter().enumerate() {
        let expected = (at < 4 && at % 2 == 1).then_some("CN=anna,O=Acme");
        assert_eq!(
            seen.field("x-client-cert-subject"),
            expected,
            "{at}: {seen:?}"
        );
        assert_eq!(seen.field("x-client-cert-verified"), None);
        assert_eq!(seen.field("x_client_cert_fingerprint"), None);
    }
}

/// As with a token: what is answered to one who has proven something may be for them alone.
#[test]
fn what_was_answered_to_one_is_not_given_to_another() {
    let origin = Origin::start(|seen| {
        let who = seen.field("x-client-cert-subject").unwrap_or("");
        let cached = match seen.target.as_str() {
            "/public" => "public, max-age=60",
            _ => "max-age=60",
        };
        Answer::of(200, &[("cache-control", cached)], who)
    });
    let authority = Authority::new();
    let edge = start(&origin, &authority, OPTIONAL, "");
    let of = |name| Trust::showing(&authority, &authority.sign_client(name));
    let (anna, ben) = (of("anna"), of("ben"));

    for (trust, who) in [(&anna, "CN=anna,O=Acme"), (&ben, "CN=ben,O=Acme")] {
        let reply = get("/own")
            .on(&mut trust.connect(&edge, "edge.test"))
            .expect(200);
        assert_eq!(reply.text(), who);
    }
    get("/public")
        .on(&mut anna.connect(&edge, "edge.test"))
        .expect(200);
    let shared = get("/public")
        .on(&mut ben.connect(&edge, "edge.test"))
        .expect(200);
    assert!(shared.is_hit(), "the origin has said that it is for all");
}

/// What was proven under other rules is proven anew.
#[test]
fn a_session_ends_with_the_rule_that_let_it_in() {
    let (origin, authority, next) = (Origin::saying("hello"), Authority::new(), Authority::new());
    let edge = start(&origin, &authority, REQUIRED, "");
    let anna = Trust::showing(&authority, &authority.sign_client("anna"));
    let mut open = anna.connect(&edge, "edge.test");
    get("/").on(&mut open).expect(200);

    fs::write(edge.dir.join("ca.pem"), &next.pem).expect("written");
    edge.await_metric("lakh_tls_loads_total", 1.0);

    assert!(refused(&edge, &anna), "she is nobody to the new authority");
    get("/").on(&mut open).expect(200);
}
