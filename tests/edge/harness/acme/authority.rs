//! Who signs certificates: an authority, and one that it has signed for.

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, date_time_ymd,
};
use std::time::{Duration, SystemTime};

pub struct SignedBy {
    /// Of the first, which clients trust.
    pub pem: String,
    /// Of the other, which they learn of by chains.
    between: String,
    issuer: Issuer<'static, KeyPair>,
}

const DAY: i64 = 86_400;

impl SignedBy {
    pub fn new() -> SignedBy {
        let authority = |name: &str| {
            let mut params = CertificateParams::new(Vec::new()).expect("no name is wrong");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            let common = rcgen::DnType::CommonName;
            params.distinguished_name.push(common, name);
            params
        };
        let (first, between) = (authority("first"), authority("between"));
        let (key, own_key) = (KeyPair::generate(), KeyPair::generate());
        let (key, own_key) = (key.expect("a key"), own_key.expect("a key"));
        let pem = first.self_signed(&key).expect("a certificate").pem();
        let first = Issuer::new(first, key);
        let signed = between.signed_by(&own_key, &first).expect("a certificate");
        SignedBy {
            pem,
            between: signed.pem(),
            issuer: Issuer::new(between, own_key),
        }
    }

    /// For 90 days from yesterday on; the chain in PEM. An error where others than these names are asked for.
    pub fn sign_request(&self, csr: &[u8], names: &[String]) -> Result<String, String> {
        let asked = CertificateSigningRequestParams::from_der(&csr.to_vec().into());
        let mut asked = asked.map_err(|e| e.to_string())?;
        let mut found = Vec::new();
        for name in &asked.params.subject_alt_names {
            match name {
                SanType::DnsName(name) => found.push(name.to_string()),
                other => return Err(format!("{other:?} is no name")),
            }
        }
        let (mut found, mut wanted) = (found, names.to_vec());
        found.sort();
        wanted.sort();
        if found != wanted {
            return Err(format!("{found:?} is asked for, not {wanted:?}"));
        }
        during(&mut asked.params, -DAY, 89 * DAY);
        asked.params.use_authority_key_identifier_extension = true;
        let signed = asked.signed_by(&self.issuer).map_err(|e| e.to_string())?;
        Ok(format!("{}{}", signed.pem(), self.between))
    }

    /// Key and chain, as an edge keeps them, of a certificate that holds from then to then, in days from now.
    pub fn record(&self, names: &[&str], from: i64, until: i64) -> String {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("good names");
        during(&mut params, from * DAY, until * DAY);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        format!("{}{}{}", key.serialize_pem(), signed.pem(), self.between)
    }
}

/// In seconds from now.
fn during(params: &mut CertificateParams, from: i64, until: i64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_secs();
    let at = |offset| {
        let seconds = now.checked_add_signed(offset).expect("it is after 1970");
        date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };
    (params.not_before, params.not_after) = (at(from), at(until));
}
