//! Certificates and keys for the cases, made when they run: none are kept.

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::fs;
use std::path::Path;
use std::sync::Once;

const DAY: u64 = 86_400;

#[path = "../edge/harness/staples.rs"]
mod staples;

/// As cases name them, from where the tests run.
const FOLDER: &str = "target/test-tls";

pub fn make_files() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let dir = Path::new(FOLDER);
        fs::create_dir_all(dir).expect("cargo has made `target`");
        pair(dir, "site", &["localhost"], (2020, 4096));
        pair(dir, "other", &["*.other.test"], (2020, 4096));
        pair(dir, "expired", &["localhost"], (2001, 2002));
        pair(dir, "early", &["localhost"], (4000, 4096));
        pair(dir, "nameless", &[], (2020, 4096));
        let damaged = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        write(dir, "damaged.pem", damaged);
        write(dir, "ocsp", staples::until(staples::now() + DAY, 1));
        write(dir, "expired.ocsp", staples::until(staples::now() - DAY, 1));
        write(
            dir,
            "good.tickets",
            format!("# keys\n{}\n", "YWJj".repeat(16)),
        );
        write(dir, "hmac", "a2V5IG9mIHRoZSBhdXRob3JpdHk\n");
        write(dir, "nothing.hmac", "\n");
        write(dir, "short.tickets", "# keys\nYWJj\n");
        write(dir, "empty.tickets", "# none\n");
    });
}

fn pair(dir: &Path, name: &str, names: &[&str], years: (i32, i32)) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("good names");
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    write(dir, &format!("{name}.pem"), certificate);
    write(dir, &format!("{name}.key"), key.serialize_pem());
}

fn write(dir: &Path, name: &str, text: impl AsRef<[u8]>) {
    fs::write(dir.join(name), text).expect("the folder can be written");
}
