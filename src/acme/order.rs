//! An order, from its placing to the certificate: RFC 8555 §7.4.

use super::book::Proof;
use super::failure::Failure;
use super::settings::Challenge;
use instant_acme::{
    Account, AuthorizationStatus, CertificateIdentifier, ChallengeType, Error, Identifier,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::time::Duration;

/// The authority is asked after half a second whether it has decided, then less and less often.
const POLLING: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(500))
    .timeout(Duration::from_secs(120));

/// `replaces`: where the authority is one that is told so, RFC 9773 §5.
pub async fn place(
    account: &Account,
    domains: &[Box<str>],
    replaces: Option<CertificateIdentifier<'static>>,
) -> Result<Order, Failure> {
    let names = domains.iter().map(|name| Identifier::Dns(name.to_string()));
    let names: Vec<_> = names.collect();
    if let Some(before) = replaces {
        match account
            .new_order(&NewOrder::new(&names).replaces(before))
            .await
        {
            // It was replaced already, or is another account's: then it is an order like others.
            Err(Error::Api(problem)) if is_of_the_one_before(&problem) => {}
            placed => return Ok(placed?),
        }
    }
    Ok(account.new_order(&NewOrder::new(&names)).await?)
}

fn is_of_the_one_before(problem: &Problem) -> bool {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    ["alreadyReplaced", "malformed", "unauthorized"]
        .iter()
        .any(|of_it| kind.ends_with(of_it))
}

/// What has to be shown for the names that the authority does not know to be ours yet.
pub async fn proofs(order: &mut Order, by: Challenge) -> Result<Vec<Proof>, Failure> {
    let mut proofs = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let domain = authorization.identifier().to_string();
        let Some(challenge) = authorization.challenge(kind(by)) else {
            return Err(Failure::new(
                format!("the authority does not offer {} for {domain}", word(by)),
                "write the other one as acme.challenge",
            ));
        };
        proofs.push(Proof {
            challenge: by,
            domain: domain.into(),
            token: challenge.token.as_str().into(),
            authorization: challenge.key_authorization().as_str().into(),
        });
    }
    Ok(proofs)
}

/// Has the authority look at what is shown, and gives key and chain, in PEM.
pub async fn finish(
    order: &mut Order,
    by: Challenge,
    domains: &[Box<str>],
) -> Result<String, Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        if let Some(mut challenge) = authorization.challenge(kind(by)) {
            challenge.set_ready().await?;
        }
    }
    match order.poll_ready(&POLLING).await {
        Ok(OrderStatus::Ready) => {}
        Ok(_) => return Err(refused(order).await),
        Err(instant_acme::Error::Api(problem)) => {
            // What is wrong with a name says more than that something is wrong.
            return Err(found(order).await.unwrap_or_else(|| (&problem).into()));
        }
        Err(e) => return Err(e.into()),
    }
    let failed = |why: rcgen::Error| Failure::new(why.to_string(), "report this: it is a bug");
    let names: Vec<String> = domains.iter().map(|name| name.to_string()).collect();
    let mut params = CertificateParams::new(names).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    let key = KeyPair::generate().map_err(failed)?;
    let request = params.serialize_request(&key).map_err(failed)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&POLLING).await?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

async fn refused(order: &mut Order) -> Failure {
    let unsaid = || Failure::new("the authority refuses the order", "see what it says of it");
    found(order).await.unwrap_or_else(unsaid)
}

/// What the authority has against the first of the names that it looked at.
async fn found(order: &mut Order) -> Option<Failure> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let state = authorization.refresh().await.ok()?;
        let mut problems = state.challenges.iter().filter_map(|c| c.error.as_ref());
        if let Some(problem) = problems.next() {
            let failure = Failure::from(problem);
            let why = format!("{}: {}", state.identifier(), failure.why);
            return Some(Failure { why, ..failure });
        }
    }
    None
}

fn kind(challenge: Challenge) -> ChallengeType {
    match challenge {
        Challenge::Http01 => ChallengeType::Http01,
        Challenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
    }
}

fn word(challenge: Challenge) -> &'static str {
    match challenge {
        Challenge::Http01 => "http-01",
        Challenge::TlsAlpn01 => "tls-alpn-01",
    }
}
