//! What a certificate's issuer says of it lately, in a file that something else keeps fresh.

use der::Decode;
use std::path::Path;
use x509_ocsp::{BasicOcspResponse, OcspResponse, OcspResponseStatus};

/// An OCSPResponse that says something, in DER: RFC 6960 §4.2.1. Whether it is for the certificate is
/// the client's to judge.
pub struct Staple {
    pub der: Vec<u8>,
    /// Unix seconds, after which newer ones are to be had, and clients take it for none. None: it
    /// doesn't say.
    pub until: Option<i64>,
}

pub fn read(file: &Path) -> Result<Staple, String> {
    let shown = file.display();
    let der = std::fs::read(file)
        .map_err(|why| format!("`{shown}` cannot be read: {why}; write a file's path"))?;
    match basic(&der) {
        Some(basic) => Ok(Staple {
            until: until(&basic),
            der,
        }),
        None => Err(format!(
            "`{shown}` is no OCSP response in DER that says something; write the path of one, as \
             `openssl ocsp -respout` makes it"
        )),
    }
}

/// None: it is cut off, or says only that there is nothing to say.
fn basic(der: &[u8]) -> Option<BasicOcspResponse> {
    let response = OcspResponse::from_der(der).ok()?;
    let says = response.response_status == OcspResponseStatus::Successful;
    let bytes = response.response_bytes.filter(|_| says)?;
    BasicOcspResponse::from_der(bytes.response.as_bytes()).ok()
}

/// The earliest, where it says something of several.
fn until(basic: &BasicOcspResponse) -> Option<i64> {
    let responses = basic.tbs_response_data.responses.iter();
    let ends = responses.filter_map(|response| response.next_update.as_ref());
    let seconds = ends.map(|end| end.0.to_unix_duration().as_secs() as i64);
    seconds.min()
}
