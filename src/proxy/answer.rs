//! The only place that turns an error into an HTTP answer: problem+json, RFC 9457.

use super::client::Client;
use super::context::{Context, RequestId};
use super::finish::Sent;
use super::headers::{self, X_CACHE};
use super::reply::write_status;
use super::request::Request;
use crate::error::Kind;
use crate::grpc::{self, Dialect};
use crate::guard::{Flaw, Offence};
use crate::observe::Refusal;
use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, DATE, LOCATION, RETRY_AFTER,
    WWW_AUTHENTICATE,
};
use http::{Method, StatusCode};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use std::time::{Duration, SystemTime};

/// Those that a gateway passes on, for Allow: with a 405 (RFC 9110 §15.5.6), and where the edge answers for itself.
pub const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Why the edge itself answers. Each has a stable `type`.
#[derive(Clone, Debug)]
pub enum Problem {
    NoRoute,
    /// CONNECT, which is for proxies that clients choose.
    MethodRefused,
    Malformed(&'static str),
    HeadTooLarge,
    HeadTimeout,
    BodyTooLarge {
        limit: u64,
    },
    BodyTimeout,
    AddressRefused,
    Banned {
        left: Duration,
    },
    RateLimited {
        retry_after: Duration,
    },
    LimitUnknown,
    /// Too many at once, of this client.
    ClientBusy,
    /// Too many at once, on this route.
    RouteBusy,
    /// `challenge`: for WWW-Authenticate.
    Unauthorized {
        flaw: Flaw,
        challenge: String,
    },
    ClaimsMissing {
        challenge: String,
    },
    NoKeys,
    OriginRefused,
    Maintenance {
        retry_after: Duration,
        page: Option<Bytes>,
    },
    UrlTooLong {
        limit: usize,
    },
    /// Larger than its route takes.
    FieldsTooLarge {
        limit: usize,
    },
    ImageQuery(String),
    /// Not signed as it has to be.
    ImageSignature(String),
    /// From a host that pictures are not fetched from.
    ImageSource(&'static str),
    OnlyIfCached,
    /// Without TLS, where only the way to it is told.
    Insecure {
        location: String,
    },
    /// On a connection whose certificate is another host's.
    Misdirected,
    /// TRACE, which would show a page what its browser and the edge have put into a request.
    NotTraced,
    Upstream(Kind),
    Internal,
}

impl Problem {
    pub fn status(&self) -> StatusCode {
        match self {
            // With the same method and body: RFC 9110 §15.4.9.
            Problem::Insecure { .. } => StatusCode::PERMANENT_REDIRECT,
            Problem::NoRoute => StatusCode::NOT_FOUND,
            Problem::MethodRefused => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Malformed(_) | Problem::ImageQuery(_) => StatusCode::BAD_REQUEST,
            Problem::HeadTooLarge | Problem::FieldsTooLarge { .. } => {
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
            }
            Problem::HeadTimeout | Problem::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Problem::BodyTooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Problem::AddressRefused
            | Problem::Banned { .. }
            | Problem::ClaimsMissing { .. }
            | Problem::ImageSignature(_)
            | Problem::ImageSource(_)
            | Problem::OriginRefused => StatusCode::FORBIDDEN,
            Problem::UrlTooLong { .. } => StatusCode::URI_TOO_LONG,
            Problem::Unauthorized { .. } => StatusCode::UNAUTHORIZED,
            Problem::NoKeys | Problem::Maintenance { .. } | Problem::RouteBusy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Problem::RateLimited { .. } | Problem::ClientBusy => StatusCode::TOO_MANY_REQUESTS,
            Problem::OnlyIfCached => StatusCode::GATEWAY_TIMEOUT,
            Problem::NotTraced => StatusCode::METHOD_NOT_ALLOWED,
            Problem::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Problem::LimitUnknown | Problem::Upstream(Kind::NoServer | Kind::Busy | Kind::Full) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Problem::Upstream(Kind::NotAPicture) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Problem::Upstream(Kind::Timeout) => StatusCode::GATEWAY_TIMEOUT,
            Problem::Upstream(_) => StatusCode::BAD_GATEWAY,
            Problem::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The last part of `type`; never changes once released.
    pub fn slug(&self) -> &'static str {
        match self {
            Problem::NoRoute => "no-route",
            Problem::MethodRefused => "method-refused",
            Problem::Malformed(_) => "malformed-request",
            Problem::HeadTooLarge | Problem::FieldsTooLarge { .. } => "head-too-large",
            Problem::HeadTimeout => "head-timeout",
            Problem::BodyTooLarge { .. } => "body-too-large",
            Problem::BodyTimeout => "body-timeout",
            Problem::AddressRefused => "address-refused",
            Problem::Banned { .. } => "banned",
            Problem::RateLimited { .. } => "rate-limited",
            Problem::ClientBusy => "too-many-at-once",
            Problem::RouteBusy => "route-busy",
            Problem::LimitUnknown => "limit-unknown",
            Problem::Unauthorized {
                flaw: Flaw::Missing,
                ..
            } => "credentials-missing",
            Problem::Unauthorized { .. } => "credentials-invalid",
            Problem::ClaimsMissing { .. } => "claims-missing",
            Problem::NoKeys => "keys-unavailable",
            Problem::OriginRefused => "origin-refused",
            Problem::Maintenance { .. } => "maintenance",
            Problem::UrlTooLong { .. } => "url-too-long",
            Problem::ImageQuery(_) => "image-query",
            Problem::ImageSignature(_) => "image-signature",
            Problem::ImageSource(_) => "image-source",
            Problem::OnlyIfCached => "not-cached",
            Problem::Insecure { .. } => "https-only",
            Problem::Misdirected => "misdirected",
            Problem::NotTraced => "not-traced",
            Problem::Upstream(Kind::NoServer) => "no-server",
            Problem::Upstream(Kind::Busy) => "upstream-busy",
            Problem::Upstream(Kind::Full) => "images-busy",
            Problem::Upstream(Kind::NotAPicture) => "not-an-image",
            Problem::Upstream(Kind::Timeout) => "upstream-timeout",
            Problem::Upstream(Kind::Connect) => "upstream-unreachable",
            Problem::Upstream(_) => "upstream-broken",
            Problem::Internal => "internal",
        }
    }

    /// What a person reads. Tells nothing of what is behind the edge.
    pub fn detail(&self) -> String {
        match self {
            Problem::NoRoute => "No route fits this request.".into(),
            Problem::MethodRefused => {
                "This server opens no tunnels: CONNECT is for proxies that clients choose.".into()
            }
            Problem::Malformed(what) => format!("The request is malformed: {what}."),
            Problem::HeadTooLarge => "The request's head is larger than this server takes.".into(),
            Problem::HeadTimeout => "The request's head took too long to arrive.".into(),
            Problem::BodyTooLarge { limit } => {
                format!("The request's body is larger than the {limit} bytes allowed here.")
            }
            Problem::BodyTimeout => "The request's body took too long to arrive.".into(),
            Problem::AddressRefused => "Your address may not use this.".into(),
            Problem::Banned { .. } => {
                "Too much that came from your address was refused. Try again after the time given in \
                 Retry-After."
                    .into()
            }
            Problem::RateLimited { .. } => {
                "Too many requests. Try again after the time given in Retry-After.".into()
            }
            Problem::ClientBusy => "Too many of your requests are being answered already.".into(),
            Problem::RouteBusy => "Too many requests are being answered already.".into(),
            Problem::LimitUnknown => {
                "Whether there were too many requests can't be told at the moment.".into()
            }
            Problem::Unauthorized {
                flaw: Flaw::Missing,
                ..
            } => "This is only for those who say who they are.".into(),
            Problem::Unauthorized { flaw, .. } => {
                format!(
                    "What the request proves itself with is not taken: {}.",
                    flaw.description()
                )
            }
            Problem::ClaimsMissing { .. } => "This is not for you.".into(),
            Problem::NoKeys => "Nobody's token can be checked at the moment.".into(),
            Problem::OriginRefused => "Pages of this origin may not ask here.".into(),
            Problem::Maintenance { .. } => {
                "This is being worked on. Try again after the time given in Retry-After.".into()
            }
            Problem::UrlTooLong { limit } => {
                format!("The request's URL is longer than the {limit} bytes allowed here.")
            }
            Problem::FieldsTooLarge { limit } => {
                format!("The request's head is larger than the {limit} bytes allowed here.")
            }
            Problem::ImageQuery(what) => format!("The image can't be made as asked: {what}."),
            Problem::ImageSignature(what) => format!("The image is not made: {what}."),
            Problem::ImageSource(what) => (*what).into(),
            Problem::OnlyIfCached => {
                "Not in the cache, and the request asked for nothing else.".into()
            }
            Problem::Insecure { location } => format!("This is at {location}."),
            Problem::Misdirected => {
                "This connection was made to another host. Ask again on one of its own.".into()
            }
            Problem::NotTraced => "No TRACE is answered here, or sent on.".into(),
            Problem::Upstream(Kind::NoServer) => "No server is available at the moment.".into(),
            Problem::Upstream(Kind::Busy) => "Too many requests are waiting already.".into(),
            Problem::Upstream(Kind::Full) => {
                "Too many images are being made already. Try again in a moment.".into()
            }
            Problem::Upstream(Kind::NotAPicture) => {
                "What is there is no image that can be worked on.".into()
            }
            Problem::Upstream(Kind::Timeout) => "The server behind this one took too long.".into(),
            Problem::Upstream(_) => "The server behind this one did not answer properly.".into(),
            Problem::Internal => "Something went wrong here.".into(),
        }
    }

    fn refusal(&self) -> Option<Refusal> {
        match self {
            Problem::RateLimited { .. } => Some(Refusal::RateLimit),
            Problem::LimitUnknown => Some(Refusal::LimitUnknown),
            Problem::AddressRefused => Some(Refusal::Address),
            Problem::ClientBusy | Problem::RouteBusy => Some(Refusal::Concurrency),
            Problem::Unauthorized { .. } => Some(Refusal::Token),
            Problem::ClaimsMissing { .. } => Some(Refusal::Claims),
            Problem::NoKeys => Some(Refusal::NoKeys),
            Problem::OriginRefused => Some(Refusal::Origin),
            Problem::Maintenance { .. } => Some(Refusal::Maintenance),
            Problem::UrlTooLong { .. } => Some(Refusal::UrlLength),
            Problem::FieldsTooLarge { .. } => Some(Refusal::HeadSize),
            Problem::BodyTooLarge { .. } => Some(Refusal::BodySize),
            Problem::Upstream(Kind::NoServer) => Some(Refusal::NoServer),
            Problem::Upstream(Kind::Busy) => Some(Refusal::Busy),
            Problem::Upstream(Kind::Full) => Some(Refusal::ImageQueue),
            Problem::ImageSignature(_) => Some(Refusal::ImageSignature),
            _ => None,
        }
    }

    /// What it is for whoever keeps doing it.
    pub fn offence(&self) -> Option<Offence> {
        match self {
            Problem::RateLimited { .. } => Some(Offence::RateLimited),
            Problem::Malformed(_) | Problem::HeadTooLarge | Problem::HeadTimeout => {
                Some(Offence::Malformed)
            }
            Problem::AddressRefused => Some(Offence::AddressRefused),
            // A token that is missing is no attempt at one.
            Problem::Unauthorized { flaw, .. } if *flaw != Flaw::Missing => {
                Some(Offence::Unauthorized)
            }
            _ => None,
        }
    }

    /// What is left of the request can't be read, or isn't worth it.
    pub fn closes(&self) -> bool {
        matches!(
            self,
            Problem::Malformed(_)
                | Problem::MethodRefused
                | Problem::HeadTooLarge
                | Problem::HeadTimeout
                | Problem::BodyTooLarge { .. }
                | Problem::BodyTimeout
                | Problem::Banned { .. }
        )
    }

    /// Content type and body. That no route fits is the one problem that people meet in a browser.
    fn body(&self, id: &RequestId) -> (&'static str, Bytes) {
        if matches!(self, Problem::NoRoute) {
            return ("text/plain; charset=utf-8", (self.detail() + "\n").into());
        }
        if let Problem::Maintenance {
            page: Some(page), ..
        } = self
        {
            return ("text/html; charset=utf-8", page.clone());
        }
        let status = self.status();
        let problem = serde_json::json!({
            "type": format!("urn:lakh:problem:{}", self.slug()),
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": self.detail(),
            "request_id": id.as_str(),
        });
        ("application/problem+json", problem.to_string().into())
    }

    /// Whole seconds, rounded up so that a client which waits so long is let in.
    fn retry_after(&self) -> Option<u64> {
        match self {
            Problem::RateLimited { retry_after }
            | Problem::Banned { left: retry_after }
            | Problem::Maintenance { retry_after, .. } => {
                Some((retry_after.as_secs_f64().ceil() as u64).max(1))
            }
            Problem::ClientBusy
            | Problem::RouteBusy
            | Problem::LimitUnknown
            | Problem::Upstream(Kind::NoServer | Kind::Busy | Kind::Full) => Some(1),
            Problem::NoKeys => Some(5),
            _ => None,
        }
    }

    fn challenge(&self) -> Option<&str> {
        match self {
            Problem::Unauthorized { challenge, .. } | Problem::ClaimsMissing { challenge } => {
                Some(challenge)
            }
            _ => None,
        }
    }

    /// The whole answer as bytes, for a connection that Pingora has no part in, and how many of them are
    /// its body.
    pub fn to_http1(&self, id: &RequestId) -> (Vec<u8>, usize) {
        let (content_type, body) = self.body(id);
        let status = self.status();
        let mut answer = format!(
            "HTTP/1.1 {} {}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\
             cache-control: no-store\r\nx-request-id: {}\r\nconnection: close\r\n\r\n",
            status.as_u16(),
            status.canonical_reason().unwrap_or(""),
            body.len(),
            id.as_str(),
        )
        .into_bytes();
        answer.extend_from_slice(&body);
        (answer, body.len())
    }
}

/// Answers with the problem. After an answer has begun nothing can be said any more.
pub async fn problem(
    session: &mut Session,
    ctx: &mut Context,
    problem: &Problem,
) -> pingora::Result<()> {
    if session.response_written().is_some() {
        return Ok(());
    }
    if problem.closes() {
        session.set_keepalive(None);
    }
    tell(session, ctx, problem).await
}

/// The same to a client whose answer has not begun.
pub async fn tell(
    client: &mut impl Client,
    ctx: &mut Context,
    problem: &Problem,
) -> pingora::Result<()> {
    let (mut head, body) = prepare(problem, ctx)?;
    let request = client.request();
    if let Some(dialect) = Dialect::of(&request.method, &request.headers) {
        refuse_call(&mut head, dialect, problem)?;
        ctx.refused_call = Some(problem.status());
        return client.send_head(Box::new(head), true).await;
    }
    if request.method == Method::HEAD {
        return client.send_head(Box::new(head), true).await;
    }
    client.send_head(Box::new(head), false).await?;
    client.send_body(body, true).await
}

/// The same to a client that knows of HTTP's statuses only that they are not 200.
fn refuse_call(
    head: &mut ResponseHeader,
    dialect: Dialect,
    problem: &Problem,
) -> pingora::Result<()> {
    let code = grpc::Code::of(head.status);
    head.set_status(StatusCode::OK)?;
    headers::edit_answer(head, |fields| {
        grpc::refuse(fields, dialect, code, &problem.detail());
    });
    Ok(())
}

/// Writes the whole answer as HTTP/1.1.
pub fn write(
    problem: &Problem,
    request: &Request<'_>,
    ctx: &Context,
    out: &mut Vec<u8>,
) -> pingora::Result<Sent> {
    let (mut head, body) = prepare(problem, ctx)?;
    head.insert_header(DATE, httpdate::fmt_http_date(SystemTime::now()))?;
    if problem.closes() {
        head.insert_header(CONNECTION, "close")?;
    }
    write_status(out, head.status);
    head.header_to_h1_wire(out);
    out.extend_from_slice(b"\r\n");
    let body = match *request.method {
        Method::HEAD => Bytes::new(),
        _ => body,
    };
    out.extend_from_slice(&body);
    Ok(Sent {
        status: head.status.as_u16(),
        bytes: body.len(),
    })
}

/// The answer, once it is counted.
fn prepare(problem: &Problem, ctx: &Context) -> pingora::Result<(ResponseHeader, Bytes)> {
    if let (Some(route), Some(refusal)) = (&ctx.route, problem.refusal()) {
        route.metrics.refused(refusal);
    }
    match problem {
        Problem::RateLimited { .. } => {
            let by = ctx.limit(false).unwrap_or_default();
            ctx.runtime.recent.limited(ctx.client, by);
        }
        Problem::ClientBusy => ctx.runtime.recent.limited(ctx.client, "concurrency"),
        _ => {}
    }
    if let Some(offence) = problem.offence() {
        ctx.runtime.note_offence(offence, ctx.client, &ctx.metrics);
    }
    let (content_type, body) = problem.body(&ctx.id);
    let mut head = ResponseHeader::build_no_case(problem.status(), Some(8))?;
    head.insert_header(CONTENT_TYPE, content_type)?;
    head.insert_header(CONTENT_LENGTH, body.len())?;
    head.insert_header(CACHE_CONTROL, "no-store")?;
    head.insert_header("x-request-id", ctx.id.as_str())?;
    if let Some(seconds) = problem.retry_after() {
        head.insert_header(RETRY_AFTER, seconds)?;
    }
    if matches!(problem, Problem::MethodRefused | Problem::NotTraced) {
        head.insert_header(ALLOW, METHODS)?;
    }
    if let Problem::Insecure { location } = problem {
        head.insert_header(LOCATION, location.as_str())?;
    }
    if let Some(challenge) = problem.challenge() {
        head.insert_header(WWW_AUTHENTICATE, challenge)?;
    }
    if let Some(status) = ctx.cache {
        head.insert_header("cache-status", status.to_value())?;
    }
    if let Some(word) = ctx.x_cache() {
        head.insert_header(X_CACHE, word)?;
    }
    headers::edit_answer(&mut head, |fields| {
        headers::add_limits(fields, ctx);
        headers::stamp(fields, ctx);
    });
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_rounded_up() {
        let after = |ms| {
            Problem::RateLimited {
                retry_after: Duration::from_millis(ms),
            }
            .retry_after()
        };
        assert_eq!(after(1), Some(1));
        assert_eq!(after(1001), Some(2));
        assert_eq!(after(2000), Some(2));
    }

    #[test]
    fn a_raw_answer_is_whole() {
        let (text, length) = Problem::HeadTooLarge.to_http1(&RequestId::new());
        let text = String::from_utf8(text).expect("text");
        assert!(
            text.starts_with("HTTP/1.1 431 Request Header Fields Too Large\r\n"),
            "{text}"
        );
        let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.contains(&format!("content-length: {}", body.len())));
        assert_eq!(body.len(), length);
        let problem: serde_json::Value = serde_json::from_str(body).expect("JSON");
        assert_eq!(problem["type"], "urn:lakh:problem:head-too-large");
    }
}
