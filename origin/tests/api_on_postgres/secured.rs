//! PostgreSQL over TLS.

use crate::backup::thing;
use crate::harness::Origin;
use crate::postgres::Postgres;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut about = CertificateParams::default();
    about.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().expect("a key");
    CertifiedIssuer::self_signed(about, key).expect("an authority")
}

/// Whose certificate must be of the authority in that file, and for this address.
fn url(postgres: &Postgres, authority: &Path) -> String {
    let (url, file) = (postgres.url("postgres"), authority.display());
    format!("{url}?sslmode=verify-full&sslrootcert={file}")
}

#[test]
fn the_database_is_known_by_its_certificate() {
    let (known, stranger) = (authority(), authority());
    let key = KeyPair::generate().expect("a key");
    let names = CertificateParams::new(["127.0.0.1".to_owned()]).expect("an address");
    let certificate = names.signed_by(&key, &known).expect("a certificate");
    let postgres = Postgres::behind_tls(&certificate.pem(), &key.serialize_pem());
    let home = tempfile::tempdir().expect("a temporary folder");
    let [trusted, other] = [(known, "trusted.pem"), (stranger, "other.pem")].map(|(one, name)| {
        let file = home.path().join(name);
        std::fs::write(&file, one.pem()).expect("the folder is ours");
        file
    });

    let origin = Origin::start_on(&["--database".into(), url(&postgres, &trusted)]);
    let token = origin.register("ada@example.org");
    origin.lend(&token, &thing("Ladder"));
    let open = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                WHERE NOT ssl AND backend_type = 'client backend' AND application_name <> 'psql'";
    assert_eq!(postgres.say(open), "0");

    let mut refusing = Command::new(env!("CARGO_BIN_EXE_lakh-origin"))
        .args([
            "--no-demo",
            "--port",
            "0",
            "--database",
            &url(&postgres, &other),
        ])
        .arg("--data")
        .arg(home.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let log = BufReader::new(refusing.stderr.take().expect("it is piped"));
    let first = log.lines().next().expect("a line").expect("text");
    refusing.kill().expect("our own child");
    refusing.wait().expect("our own child");
    let first: Value = serde_json::from_str(&first).expect("JSON");
    assert_eq!(first["event"], "database_node", "{first}");
    assert!(
        first["reason"]
            .as_str()
            .is_some_and(|why| why.contains("certificate")),
        "{first}"
    );
}
