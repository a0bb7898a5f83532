//! A request's spans: its own, and one for each try at a server.

use super::context::{CacheStatus, Context};
use super::finish::Sent;
use super::headers;
use super::request::Request;
use crate::cache::Scheme;
use crate::endpoint::Endpoint;
use crate::observe::{Kind, Span, SpanId, TRACEPARENT, TRACESTATE, TraceId, Traceparent, Tracer};
use crate::upstream::{Attempt, Journal, Outcome};
use http::{HeaderMap, Version};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// What is done for a traced request, wherever that is done, becomes part of its span.
pub struct Part {
    tracer: Arc<Tracer>,
    pub trace: TraceId,
    parent: SpanId,
}

impl Part {
    pub fn of(ctx: &Context) -> Option<Part> {
        let tracer = ctx.runtime.tracer.clone()?;
        let trace = ctx.trace?;
        Some(Part {
            tracer,
            trace: trace.id,
            parent: trace.span,
        })
    }

    /// What was done beside the request, and may outlive it.
    pub fn tell(&self, journal: &Journal) {
        self.tracer.send(self.attempts(journal));
    }

    fn attempts(&self, journal: &Journal) -> Vec<Span> {
        let attempts = journal.attempts().iter().enumerate();
        attempts
            .map(|(n, attempt)| self.attempt(attempt, n))
            .collect()
    }

    fn attempt(&self, attempt: &Attempt, resent: usize) -> Span {
        let mut attributes: Vec<(&str, Value)> = match &attempt.server {
            Endpoint::Tcp(address) => vec![
                ("server.address", address.ip().to_string().into()),
                ("server.port", address.port().into()),
            ],
            Endpoint::Unix(path) => vec![("server.address", (**path).into())],
        };
        attributes.push(("lakh.upstream", (*attempt.upstream).into()));
        if resent > 0 {
            attributes.push(("http.request.resend_count", resent.into()));
        }
        if let Some(status) = attempt.answered() {
            attributes.push(("http.response.status_code", status.into()));
        }
        if let Some(connect) = attempt.connect {
            attributes.push(("lakh.connect_us", (connect.as_micros() as u64).into()));
        }
        let error = match attempt.outcome {
            Some(outcome) if !outcome.is_failure() => None,
            Some(Outcome::Answered(status)) => Some(status.to_string()),
            Some(outcome) => Some(format!("{outcome:?}").to_lowercase()),
            None => Some("given up".into()),
        };
        Span {
            trace: self.trace,
            id: attempt.span,
            parent: Some(self.parent),
            kind: Kind::Client,
            name: format!("attempt {}", attempt.upstream),
            begun: at(attempt.begun),
            took: attempt.took.unwrap_or_else(|| attempt.begun.elapsed()),
            attributes,
            error,
        }
    }
}

/// The request is done.
pub fn finished(
    request: &Request<'_>,
    ctx: &Context,
    sent: &Sent,
    took: Duration,
    error: Option<&str>,
) {
    let (Some(part), Some(trace)) = (Part::of(ctx), ctx.trace) else {
        return;
    };
    let mut spans = part.attempts(&ctx.journal);
    spans.push(Span {
        trace: trace.id,
        id: trace.span,
        parent: trace.parent,
        kind: Kind::Server,
        name: match &ctx.route {
            Some(route) => format!("{} {}", request.method, route.name),
            None => request.method.to_string(),
        },
        begun: at(ctx.started),
        took,
        attributes: attributes(request, ctx, sent),
        error: error
            .map(str::to_owned)
            .or_else(|| (sent.status >= 500).then(|| sent.status.to_string())),
    });
    part.tracer.send(spans);
}

/// No query and no address: what may be a secret or says who asks is the log's, if anybody's.
fn attributes(request: &Request<'_>, ctx: &Context, sent: &Sent) -> Vec<(&'static str, Value)> {
    let (path, _) = request.path_and_query();
    let version = match request.version {
        Version::HTTP_2 => "2",
        Version::HTTP_10 => "1.0",
        _ => "1.1",
    };
    let scheme = match headers::scheme(request.headers, ctx) {
        Scheme::Https => "https",
        Scheme::Http => "http",
    };
    let mut attributes: Vec<(&str, Value)> = vec![
        ("http.request.method", request.method.as_str().into()),
        ("url.scheme", scheme.into()),
        ("url.path", String::from_utf8_lossy(path).into()),
        ("server.address", request.host.into()),
        ("network.protocol.version", version.into()),
        ("http.response.status_code", sent.status.into()),
        ("http.response.body.size", sent.bytes.into()),
        ("lakh.request_id", ctx.id.as_str().into()),
    ];
    let route = ctx.route.as_ref().map(|route| &*route.name);
    attributes.extend(route.map(|name| ("lakh.route", name.into())));
    let cache = ctx.cache.map(CacheStatus::label);
    attributes.extend(cache.map(|label| ("lakh.cache", label.into())));
    attributes
}

/// Tells a server what it is part of. That a client's trace goes on unseen is said too, so that the
/// server doesn't begin another. Without tracing, what the client says passes as it came.
pub fn to_server(fields: &mut HeaderMap, ctx: &Context) {
    if ctx.runtime.tracer.is_none() {
        return;
    }
    let theirs = Traceparent::of(fields);
    if theirs.is_none() {
        // It belongs to what can't be read.
        fields.remove(TRACESTATE);
    }
    let attempt = ctx.journal.last().map(|attempt| attempt.span);
    let ours = match ctx.trace {
        Some(trace) => Traceparent {
            trace: trace.id,
            span: attempt.unwrap_or(trace.span),
            sampled: true,
        },
        None => Traceparent {
            trace: theirs.map_or_else(TraceId::new, |theirs| theirs.trace),
            span: theirs.map_or_else(SpanId::new, |theirs| theirs.span),
            sampled: false,
        },
    };
    fields.insert(TRACEPARENT, ours.to_value());
}

fn at(instant: Instant) -> SystemTime {
    SystemTime::now() - instant.elapsed()
}
