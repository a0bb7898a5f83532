//! Certificates that `lakh cert dev` makes, and what TLS's critics say of them.

use crate::harness::{Edge, Origin, Trust, get};
use crate::tls::config;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const DEV: &str = "certificates: [{cert_file: $dir/certs/dev.crt, key_file: $dir/certs/dev.key}]";

fn make(dir: &Path, names: &[&str]) -> std::process::Output {
    let mut command = Command::new(crate::harness::binary());
    command
        .args(["cert", "dev", "--dir"])
        .arg(dir.join("certs"));
    command.args(names).output().expect("the binary is there")
}

fn started(origin: &Origin) -> Edge {
    Edge::start_with(&config(DEV, "security_headers: strict"), &[origin], |dir| {
        assert!(make(dir, &["shop.test", "*.shop.test"]).status.success());
    })
}

#[test]
fn what_is_made_is_trusted_by_who_trusts_its_authority() {
    let origin = Origin::saying("hello");
    let edge = started(&origin);
    let folder = edge.dir.join("certs");
    let pem = std::fs::read_to_string(folder.join("ca.crt")).expect("the authority");
    let trust = Trust::of_pem(&pem);
    for name in ["localhost", "127.0.0.1", "shop.test", "a.shop.test"] {
        get("/")
            .host(name)
            .on(&mut trust.connect(&edge, name))
            .expect(200);
    }
    assert!(trust.try_connect(edge.web, "other.test").is_err());
    for key in ["ca.key", "dev.key"] {
        let mode = std::fs::metadata(folder.join(key))
            .expect("a key")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{key} is its owner's");
    }
    // OpenSSL takes it too, and knows its name constraints.
    let verified = Command::new("openssl")
        .args(["verify", "-x509_strict", "-CAfile"])
        .args([folder.join("ca.crt"), folder.join("dev.crt")])
        .output()
        .expect("openssl is installed");
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn nothing_is_overwritten_and_bad_names_are_refused() {
    let folder = crate::harness::Folder::new();
    let bad = make(folder.path(), &["ö.test"]);
    assert!(!bad.status.success());
    assert!(folder.files().is_empty(), "nothing is left behind");
    assert!(make(folder.path(), &[]).status.success());
    let key = || std::fs::read(folder.path().join("certs/dev.key")).expect("a key");
    let before = key();
    let again = make(folder.path(), &[]);
    assert!(!again.status.success());
    let said = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(said.contains("ca.crt is there already"), "{said}");
    assert_eq!(key(), before);
}

/// <https://testssl.sh>: what is left comes of an authority that publishes nothing of what it has
/// revoked.
#[test]
#[ignore = "takes a minute or two: make test-tls"]
fn testssl_finds_nothing() {
    let origin = Origin::saying("hello");
    let edge = started(&origin);
    let report = edge.dir.join("testssl.json");
    let ran = Command::new("testssl")
        .args("--quiet --color 0 --warnings off --nodns none --ip 127.0.0.1".split(' '))
        .args("--protocols --std --fs --server-preference --server-defaults".split(' '))
        .args("--headers --vulnerable --jsonfile".split(' '))
        .arg(&report)
        .arg("--add-ca")
        .arg(edge.dir.join("certs/ca.crt"))
        .arg(format!("localhost:{}", edge.web.port()))
        .output()
        .expect("testssl.sh is installed");
    let text = std::fs::read_to_string(&report).unwrap_or_else(|e| panic!("{e}: {ran:?}"));
    let found: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let found = found.as_array().expect("a list");
    assert!(found.len() > 50, "it has looked: {found:?}");
    let serious = |each: &&serde_json::Value| {
        let severe = ["MEDIUM", "HIGH", "CRITICAL", "FATAL"].map(Into::into);
        severe.contains(&each["severity"]) && each["id"] != "cert_revocation"
    };
    let serious: Vec<_> = found.iter().filter(serious).collect();
    assert!(serious.is_empty(), "{serious:#?}");
}
