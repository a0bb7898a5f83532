//! `lakh cert dev`: an authority of this machine's own and a certificate by it, to develop with.

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, Error,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    NameConstraints, date_time_ymd,
};
use std::fs::{OpenOptions, create_dir_all};
use std::io::Write;
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// What everybody who develops asks for. No `*.localhost`: clients take no star above a single label.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];
const DAY: Duration = Duration::from_secs(24 * 3600);
/// Browsers take none that lasts longer: CA/Browser Forum Baseline Requirements §6.3.2.
const CERTIFICATE_DAYS: u32 = 397;
const AUTHORITY_DAYS: u32 = 3650;

pub fn dev(folder: &Path, asked: &[String]) -> ExitCode {
    let mut names = NAMES.map(str::to_owned).to_vec();
    names.extend(
        asked
            .iter()
            .filter(|name| !NAMES.contains(&name.as_str()))
            .cloned(),
    );
    let made = make(&names).map_err(|why| format!("a certificate can't be made: {why}"));
    match made.and_then(|made| made.write(folder)) {
        Ok(()) => {
            explain(folder, &names);
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("lakh: {why}");
            ExitCode::FAILURE
        }
    }
}

/// In PEM.
struct Made {
    authority: String,
    authority_key: String,
    certificate: String,
    key: String,
}

fn make(names: &[String]) -> Result<Made, Error> {
    let authority_key = KeyPair::generate()?;
    let params = authority(names)?;
    let authority = params.self_signed(&authority_key)?;
    let key = KeyPair::generate()?;
    let authority_pem = authority_key.serialize_pem();
    let certificate = leaf(names)?.signed_by(&key, &Issuer::new(params, authority_key))?;
    Ok(Made {
        authority: authority.pem(),
        authority_key: authority_pem,
        certificate: certificate.pem(),
        key: key.serialize_pem(),
    })
}

/// Whoever steals its key can sign for these names alone, because that is all it may sign for.
fn authority(names: &[String]) -> Result<CertificateParams, Error> {
    let mut params = lasting(CertificateParams::new(Vec::new())?, AUTHORITY_DAYS);
    params.distinguished_name = called("Lakh development authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let only = |name: &String| match name.parse() {
        Ok(IpAddr::V4(ip)) => GeneralSubtree::IpAddress(CidrSubnet::V4(ip.octets(), [255; 4])),
        Ok(IpAddr::V6(ip)) => GeneralSubtree::IpAddress(CidrSubnet::V6(ip.octets(), [255; 16])),
        Err(_) => GeneralSubtree::DnsName(name.trim_start_matches("*.").to_owned()),
    };
    let mut permitted: Vec<_> = names.iter().map(only).collect();
    // A name covers those below it.
    permitted.dedup();
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: permitted,
        excluded_subtrees: Vec::new(),
    });
    Ok(params)
}

fn leaf(names: &[String]) -> Result<CertificateParams, Error> {
    let mut params = lasting(CertificateParams::new(names.to_vec())?, CERTIFICATE_DAYS);
    params.distinguished_name = called("Lakh development certificate");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn called(name: &str) -> DistinguishedName {
    let mut called = DistinguishedName::new();
    called.push(DnType::CommonName, name);
    called
}

/// From a day ago, for clocks that are late.
fn lasting(mut params: CertificateParams, days: u32) -> CertificateParams {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let begin = since.unwrap_or_default().saturating_sub(DAY);
    let begin = date_time_ymd(1970, 1, 1) + Duration::from_secs(begin.as_secs());
    (params.not_before, params.not_after) = (begin, begin + DAY * days);
    params
}

impl Made {
    /// Nothing is written where something is in the way.
    fn write(&self, folder: &Path) -> Result<(), String> {
        let files = [
            ("ca.crt", &self.authority),
            ("ca.key", &self.authority_key),
            ("dev.crt", &self.certificate),
            ("dev.key", &self.key),
        ];
        let mut paths = files.iter().map(|(name, _)| folder.join(name));
        if let Some(there) = paths.find(|path| path.exists()) {
            return Err(format!(
                "{} is there already; remove it, or choose another folder with --dir",
                there.display()
            ));
        }
        let failed = |path: &Path, why| format!("{} can't be written: {why}", path.display());
        create_dir_all(folder).map_err(|why| failed(folder, why))?;
        for (name, text) in files {
            let path = folder.join(name);
            let mode = if name.ends_with(".key") { 0o600 } else { 0o644 };
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(mode)
                .open(&path);
            let written = file.and_then(|mut file| file.write_all(text.as_bytes()));
            written.map_err(|why| failed(&path, why))?;
        }
        Ok(())
    }
}

fn explain(folder: &Path, names: &[String]) {
    let (folder, names) = (folder.display(), names.join(", "));
    println!(
        "{folder}/dev.crt and dev.key are for {names}. In the configuration:

  tls: {{certificates: [{{cert_file: {folder}/dev.crt, key_file: {folder}/dev.key}}]}}

To trust it on this machine, tell whoever asks of the authority that has signed it, {folder}/ca.crt:

  curl --cacert {folder}/ca.crt https://localhost:8443/
  Debian, Ubuntu   sudo cp {folder}/ca.crt /usr/local/share/ca-certificates/lakh-dev.crt && sudo update-ca-certificates
  Fedora           sudo trust anchor {folder}/ca.crt
  macOS            sudo security add-trusted-cert -d -k /Library/Keychains/System.keychain {folder}/ca.crt
  Firefox, Chrome  Settings, Certificates, Authorities, Import

It can sign for these names alone. The keys are this machine's: don't commit them."
    );
}
