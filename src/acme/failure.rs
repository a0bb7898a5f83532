//! Why there is no new certificate, in an operator's words.

use instant_acme::{Error, Problem};

#[derive(Debug)]
pub struct Failure {
    pub why: String,
    pub remedy: &'static str,
}

impl Failure {
    pub fn new(why: impl Into<String>, remedy: &'static str) -> Failure {
        Failure {
            why: why.into(),
            remedy,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::Api(problem) => Failure::from(&problem),
            Error::Timeout(_) => Failure::new(
                "the authority did not decide in time",
                "nothing, if it is only slow: it is tried again",
            ),
            Error::Json(why) => Failure::new(
                format!("what the authority answered is not ACME: {why}"),
                "write the URL of its directory as acme.directory",
            ),
            error => Failure::new(
                error.to_string(),
                "see that acme.directory can be reached from here; with an authority of your own, acme.ca_file says whom its server is trusted by",
            ),
        }
    }
}

impl From<&Problem> for Failure {
    fn from(problem: &Problem) -> Failure {
        let kind = problem.r#type.as_deref().unwrap_or_default();
        let kind = kind.rsplit(':').next().unwrap_or_default();
        let detail = |said: &Problem| said.detail.clone().unwrap_or_default();
        let mut why = format!("{kind}: {}", detail(problem));
        for part in &problem.subproblems {
            why.push_str(&format!("; {part}"));
        }
        Failure::new(why, remedy(kind))
    }
}

/// For a kind of problem: RFC 8555 §6.7.
fn remedy(kind: &str) -> &'static str {
    match kind {
        "rateLimited" => "nothing: it is tried again when the authority allows",
        "connection" | "dns" | "incorrectResponse" | "unauthorized" | "tls" => {
            "each of the names must lead to this fleet from outside: http-01 to port 80 of a listener without TLS, tls-alpn-01 to port 443 of this one"
        }
        "caa" => "a CAA record of the name lets other authorities sign alone; add this one",
        "rejectedIdentifier" | "unsupportedIdentifier" => {
            "this authority does not sign for the name; take it out of the certificate's `acme`"
        }
        "externalAccountRequired" => {
            "write acme.external_account: {key_id: ID, hmac_key_file: FILE}, which the authority gives"
        }
        "accountDoesNotExist" => {
            "the authority has forgotten the account: remove `account` from acme.storage, and a new one is made"
        }
        "invalidContact" | "unsupportedContact" => "write another address as acme.contact",
        "serverInternal" => "nothing, if it passes: it is tried again",
        _ => "see what the authority says of it",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_told_with_all_its_parts() {
        let problem = r#"{"type": "urn:ietf:params:acme:error:dns", "detail": "two names failed",
            "subproblems": [{"type": "urn:ietf:params:acme:error:dns", "detail": "no such name",
            "identifier": {"type": "dns", "value": "a.test"}}]}"#;
        let problem: Problem = serde_json::from_str(problem).expect("a problem");
        let failure = Failure::from(&problem);
        assert!(
            failure.why.starts_with("dns: two names failed; ")
                && failure.why.contains("a.test")
                && failure.why.contains("no such name"),
            "{}",
            failure.why
        );
        assert!(failure.remedy.contains("port 80"), "{}", failure.remedy);
    }
}
