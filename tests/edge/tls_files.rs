//! Files of TLS that change: certificates, keys of tickets, authorities.

use crate::harness::{Authority, Edge, Identity, Origin, Trust, eventually, get, staples};
use crate::tls::{config, start};
use rustls::HandshakeKind::{Full, Resumed};
use std::fs;
use std::path::Path;

/// What new clients are shown is this one.
fn await_shown(edge: &Edge, trust: &Trust, identity: &Identity) {
    eventually("the new certificate is shown", || {
        let client = trust.forgetful().connect(edge, "edge.test");
        client.tls().peer_certificates().expect("one")[0] == identity.der()
    });
}

#[test]
fn a_new_certificate_is_shown_without_a_reload_and_connections_stay() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "", "");
    let trust = Trust::of(&authority);
    let mut open = trust.connect(&edge, "edge.test");
    get("/").on(&mut open).expect(200);

    let next = authority.sign("edge.test");
    next.write(&edge.dir, "site");

    await_shown(&edge, &trust, &next);
    get("/").on(&mut open).expect(200);
    edge.await_metric("lakh_tls_loads_total{listener=\"web\"}", 1.0);
    // Whoever was here before is still known.
    let client = trust.connect(&edge, "edge.test");
    assert_eq!(client.tls().handshake_kind(), Some(Resumed));
}

#[test]
fn a_broken_pair_keeps_the_old_one_and_says_so() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "", "");
    let (trust, old) = (Trust::of(&authority), fs::read(edge.dir.join("site.pem")));
    let other = authority.sign("edge.test");

    fs::write(edge.dir.join("site.pem"), &other.certificate).expect("written");
    edge.await_metric("lakh_tls_load_failures_total", 1.0);
    edge.await_metric("lakh_tls_stale", 1.0);
    let said = edge.stderr();
    assert!(said.contains("is not for the key in key_file"), "{said}");
    let client = trust.connect(&edge, "edge.test");
    let shown = client.tls().peer_certificates().expect("one")[0].clone();
    let old = Identity {
        certificate: String::from_utf8(old.expect("the old one")).expect("PEM"),
        key: String::new(),
    };
    assert_eq!(shown, old.der());
    // Nor does a reload take it.
    edge.reload_refused(&config(
        "certificates: [{cert_file: $dir/site.pem, key_file: $dir/site.key}]",
        "",
    ));
    get("/")
        .on(&mut trust.connect(&edge, "edge.test"))
        .expect(200);

    fs::write(edge.dir.join("site.key"), &other.key).expect("written");
    await_shown(&edge, &trust, &other);
    edge.await_metric("lakh_tls_stale", 0.0);
    assert_eq!(edge.metric("lakh_tls_load_failures_total"), 1.0);
}

#[test]
fn a_reload_shows_what_it_names_and_tells_when_that_ends() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let edge = start(&origin, &authority, "", "");
    let trust = Trust::of(&authority);
    let series = "lakh_tls_certificate_not_after_seconds";
    assert!(
        edge.metric(series) > 4e9,
        "rcgen's last for thousands of years"
    );
    get("/")
        .on(&mut trust.connect(&edge, "edge.test"))
        .expect(200);
    let next = authority.sign_expired("edge.test");
    next.write(&edge.dir, "next");

    let tls = "certificates: [{cert_file: $dir/next.pem, key_file: $dir/next.key}]";
    edge.reload(&config(tls, ""));

    assert_eq!(
        edge.metric(series),
        1_009_843_200.0,
        "of the one in force alone"
    );
    assert!(
        edge.stderr().contains("its time is over"),
        "{}",
        edge.stderr()
    );
    let refused = trust.forgetful().try_connect(edge.web, "edge.test");
    assert!(refused.is_err(), "its time is over");
    // The keys of tickets are the process's.
    let client = trust.connect(&edge, "edge.test");
    assert_eq!(client.tls().handshake_kind(), Some(Resumed));
}

const KEYS: [&str; 3] = [
    "b25lIG9uZSBvbmUgb25lIG9uZSBvbmUgb25lIG9uZSBvbmUgb25lIG9uZSBvbmUg",
    "dHdvIHR3byB0d28gdHdvIHR3byB0d28gdHdvIHR3byB0d28gdHdvIHR3byB0d28g",
    "dGhyZWUgdGhyZWUgdGhyZWUgdGhyZWUgdGhyZWUgdGhyZWUgdGhyZWUgdGhyZWUg",
];

/// As another edge of the fleet has it; `$keys` is theirs in common.
fn of_fleet(origin: &Origin, authority: &Authority, shared: &Path) -> Edge {
    let keys = format!(", ticket_key_file: {}", shared.display());
    start(origin, authority, &keys, "")
}

#[test]
fn a_fleet_knows_each_others_clients() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let folder = crate::harness::Folder::new();
    let shared = folder.path().join("tickets");
    let write = |keys: &[&str]| {
        let text = format!("# the first makes tickets\n{}\n", keys.join("\n"));
        fs::write(&shared, text).expect("written");
    };
    write(&KEYS[..2]);
    let edges = [0, 1].map(|_| of_fleet(&origin, &authority, &shared));
    let stranger = start(&origin, &authority, "", "");
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let trust = Trust::speaking(&authority, &[version], None);
        let how = |edge: &Edge| {
            let mut client = trust.connect(edge, "edge.test");
            get("/").on(&mut client).expect(200);
            client.tls().handshake_kind()
        };
        assert_eq!(how(&edges[0]), Some(Full));
        assert_eq!(how(&edges[1]), Some(Resumed));
        assert_eq!(how(&edges[0]), Some(Resumed));
        assert_eq!(how(&stranger), Some(Full), "its keys are its own");
    }

    let trust = Trust::of(&authority);
    get("/")
        .on(&mut trust.connect(&edges[0], "edge.test"))
        .expect(200);
    write(&[KEYS[1], KEYS[0]]);
    for edge in &edges {
        edge.await_metric("lakh_tls_loads_total", 1.0);
    }
    let client = trust.connect(&edges[1], "edge.test");
    assert_eq!(
        client.tls().handshake_kind(),
        Some(Resumed),
        "by the second key"
    );

    let trust = Trust::of(&authority);
    get("/")
        .on(&mut trust.connect(&edges[0], "edge.test"))
        .expect(200);
    write(&[KEYS[2]]);
    for edge in &edges {
        edge.await_metric("lakh_tls_loads_total", 2.0);
    }
    let client = trust.connect(&edges[1], "edge.test");
    assert_eq!(client.tls().handshake_kind(), Some(Full), "the key is gone");
}

#[test]
fn a_staple_is_shown_and_read_again() {
    let (origin, authority) = (Origin::saying("hello"), Authority::new());
    let in_an_hour = staples::now() + 3600;
    let staple = |serial| staples::until(in_an_hour, serial);
    let tls =
        "certificates: [{cert_file: $dir/site.pem, key_file: $dir/site.key, ocsp_file: $dir/ocsp}]";
    let edge = Edge::start_with(&config(tls, ""), &[&origin], |dir| {
        authority.sign("edge.test").write(dir, "site");
        fs::write(dir.join("ocsp"), staple(1)).expect("written");
    });
    let shown = |version| {
        let trust = Trust::speaking(&authority, &[version], None);
        let (trust, staples) = trust.noting_staples(&authority);
        drop(trust.connect(&edge, "edge.test"));
        staples.last()
    };
    assert_eq!(shown(&rustls::version::TLS13), staple(1));
    assert_eq!(shown(&rustls::version::TLS12), staple(1));
    fs::write(edge.dir.join("ocsp"), staple(2)).expect("written");
    eventually("the new one is shown", || {
        shown(&rustls::version::TLS13) == staple(2)
    });
    let series = "lakh_tls_staple_not_after_seconds";
    edge.await_metric(series, in_an_hour as f64);

    // It holds for some seconds more: it is sent as long, and then no more, without being read again.
    let soon = staples::now() + 4;
    fs::write(edge.dir.join("ocsp"), staples::until(soon, 3)).expect("written");
    edge.await_metric(series, soon as f64);
    eventually("its time is over", || {
        shown(&rustls::version::TLS13).is_empty()
    });
    assert!(staples::now() >= soon);
    assert!(shown(&rustls::version::TLS12).is_empty());
    let page = edge
        .admin("/api/v1/certificates")
        .expect("an answer")
        .json();
    assert_eq!(page["certificates"][0]["ocsp_expired"], true);
    eventually("operators are told", || {
        edge.stderr().contains("has expired, and is not sent")
    });
    fs::write(edge.dir.join("ocsp"), staple(4)).expect("written");
    eventually("a new one is shown", || {
        shown(&rustls::version::TLS13) == staple(4)
    });
}
