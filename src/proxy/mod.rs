//! A request's whole way, phase by phase, in the order in which they are called.
//!
//! `front` takes a connection, has `express` answer the plain requests on it, and hands Pingora the
//! others one at a time. Then `request_filter` routes, guards, and answers what the cache or the image
//! room can answer; all else goes through Pingora's proxy: a server is picked, the request is sent,
//! the answer passed on. `logging` is always last.

mod admit;
mod alive;
mod answer;
mod balance;
mod cached;
mod calls;
mod client;
mod coded;
mod context;
mod expect;
mod explain;
mod express;
mod extended;
mod fill;
mod finish;
mod frames;
mod front;
mod headers;
mod http2;
mod http3;
mod https;
mod images;
mod pass;
mod purge;
mod relay;
mod reply;
mod request;
mod resource;
mod trace;
mod tunnel;
mod way;
mod within;

pub use explain::{Explanation, Inquiry, What, explain};
pub use front::Front;

use crate::cache::{Name, Scheme, Url, invalidates};
use crate::error::Kind;
use crate::runtime::{Foundation, Route, Runtime};
use crate::upstream::{frame_once, no_connection};
use answer::Problem;
use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use cached::Answered;
use client::Client;
use context::Context;
use finish::{Sent, finish};
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, LOCATION, SET_COOKIE, TE,
    TRANSFER_ENCODING,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::protocols::Digest;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType};
use reply::Hit;
use request::Request;
use std::io::ErrorKind::{InvalidData, TimedOut};
use std::iter;
use std::sync::Arc;
use std::time::Duration;
use way::Way;

/// What serves: the configuration in force, on the foundation that outlives it.
pub struct Edge {
    pub runtime: Arc<ArcSwap<Runtime>>,
    pub foundation: Arc<Foundation>,
}

/// `Edge` as Pingora calls it.
pub struct Service(pub Arc<Edge>);

#[async_trait]
impl ProxyHttp for Service {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        Context::new(
            self.0.runtime.load_full(),
            self.0.foundation.metrics.clone(),
        )
    }

    /// None: compression and the like are ours.
    fn init_downstream_modules(&self, _modules: &mut HttpModules) {}

    async fn request_filter(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<bool> {
        let way = way(session, ctx);
        let way = way::decided(way, &Request::of(session.req_header()), ctx).await;
        if !matches!(way, Way::Refuse(_) | Way::Hit(_) | Way::Challenge(_)) && ctx.routed().compress
        {
            coded::translate_conditions(session.req_header_mut())?;
        }
        let answered = match way {
            Way::Refuse(problem) => Answered::Refused(problem),
            Way::Hit(hit) => {
                let reply = hit.reply(&Request::of(session.req_header()), ctx);
                reply.send(session).await?;
                Answered::Yes
            }
            Way::Code(to_code, hit) => {
                let object = to_code.run(ctx).await;
                let reply = Hit { object, ..hit }.reply(&Request::of(session.req_header()), ctx);
                reply.send(session).await?;
                Answered::Yes
            }
            Way::Fill(resource) => cached::answer(&self.0, session, ctx, &resource).await?,
            Way::Render(work) => images::answer(&self.0, session, ctx, *work).await?,
            Way::Purge(order) => {
                purge::answer(&self.0, session, ctx, &order).await?;
                Answered::Yes
            }
            Way::Challenge(answer) => {
                challenge(session, ctx, answer).await?;
                Answered::Yes
            }
            Way::Preflight => {
                preflight(session, ctx).await?;
                Answered::Yes
            }
            // Those that may be switched are answered by `express` or `extended`.
            Way::Pass if ctx.upgrade => {
                Answered::Refused(Problem::Malformed("it switches nothing"))
            }
            Way::Options => {
                options(session, ctx).await?;
                Answered::Yes
            }
            Way::Pass => {
                if session.req_header().version >= Version::HTTP_2 && !session.is_body_done() {
                    ctx.unfinished = Some(Box::new(session.req_header().clone()));
                }
                calls::begin(session, ctx);
                Answered::No
            }
            Way::Ask(_) => unreachable!("it was decided"),
        };
        match answered {
            Answered::Yes => Ok(true),
            Answered::No => Ok(false),
            Answered::Refused(problem) => {
                answer::problem(session, ctx, &problem).await?;
                Ok(true)
            }
        }
    }

    async fn upstream_peer(
        &self,
        session: &mut Session,
        ctx: &mut Context,
    ) -> pingora::Result<Box<HttpPeer>> {
        balance::pick(session, ctx).await.map(Box::new)
    }

    fn fail_to_connect(
        &self,
        _session: &mut Session,
        _peer: &HttpPeer,
        ctx: &mut Context,
        mut e: Box<Error>,
    ) -> Box<Error> {
        let outcome = no_connection(&e);
        let again = balance::failed(ctx, outcome, true);
        e.set_retry(again);
        e
    }

    async fn connected_to_upstream(
        &self,
        _session: &mut Session,
        reused: bool,
        _peer: &HttpPeer,
        _fd: std::os::unix::io::RawFd,
        _digest: Option<&Digest>,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        ctx.journal.connected(reused);
        Ok(())
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        request: &mut RequestHeader,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        let te = headers::te(request.version, &session.req_header().headers);
        expect::go_on(session, request).await?;
        headers::to_server(request, ctx)?;
        if let Some(bridge) = &mut ctx.bridge {
            bridge.begin();
        }
        if let Some(te) = te {
            request.insert_header(TE, te)?;
        }
        Ok(())
    }

    async fn request_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        // An empty part at the end, as HTTP/2 may have it, would be written as the last chunk, and
        // then the last chunk be written once more: the server would take that for a request.
        if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
            *body = None;
        }
        ctx.body_bytes += body.as_ref().map_or(0, Bytes::len) as u64;
        if ctx.body_bytes > ctx.routed().body_size {
            // Whoever else it is from, Pingora goes on without the body where the server speaks HTTP/2.
            let e = Error::explain(ErrorType::HTTPStatus(413), "body over the route's limit");
            let mut e = e.into_down();
            e.set_retry(false);
            return Err(e);
        }
        calls::request(body, end_of_stream, ctx)
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        answer: &mut ResponseHeader,
        ctx: &mut Context,
    ) -> pingora::Result<()> {
        frame_once(answer);
        if answer.status == StatusCode::SWITCHING_PROTOCOLS {
            return Error::e_explain(ErrorType::InvalidHTTPHeader, "101 without being asked")
                .map_err(|e| e.into_up());
        }
        if answer.status.is_informational() {
            return Ok(());
        }
        balance::answered(session, ctx, answer.status)?;
        let method = &session.req_header().method;
        purge::told_by_origin(&self.0.foundation, method, answer, ctx);
        // The server's version is its own affair; we speak to this client. RFC 9110 §2.5.
        answer.set_version(Version::HTTP_11);
        let status = answer.status;
        let mut stream = None;
        headers::edit_answer(answer, |fields| {
            headers::strip_from_server(fields, false, &ctx.runtime.invalidate_headers);
            if session.req_header().version == Version::HTTP_10 {
                // It knows no chunks and reads to the connection's end. RFC 9112 §6.1.
                fields.remove(TRANSFER_ENCODING);
            }
            let request = Request::of(session.req_header());
            stream = coded::begin(fields, status, &request, ctx);
            if let Some(cookie) = sticky(session, ctx) {
                fields.append(SET_COOKIE, cookie);
            }
            if let Some(bridge) = &mut ctx.bridge {
                bridge.answer(fields);
            }
            headers::to_client(fields, ctx);
        });
        ctx.stream = stream;
        front::keep_date(session, &answer.headers);
        forget(session, answer, ctx);
        Ok(())
    }

    fn response_body_filter(
        &self,
        _session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        ctx: &mut Context,
    ) -> pingora::Result<Option<Duration>> {
        if ctx.stream.is_some() {
            *body = coded::next(&mut ctx.stream, body.take(), end_of_stream)?;
        }
        calls::answer(body, ctx);
        Ok(None)
    }

    /// What is given back goes into the body instead.
    async fn response_trailer_filter(
        &self,
        _session: &mut Session,
        trailers: &mut HeaderMap,
        ctx: &mut Context,
    ) -> pingora::Result<Option<Bytes>> {
        Ok(calls::trailers(trailers, ctx))
    }

    fn error_while_proxy(
        &self,
        _peer: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        ctx: &mut Context,
        client_reused: bool,
    ) -> Box<Error> {
        let again = balance::broke(session, ctx, &e, client_reused);
        e.set_retry(again);
        e
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        e: &Error,
        ctx: &mut Context,
    ) -> FailToProxy {
        ctx.error.get_or_insert_with(|| e.to_string());
        let begun = session
            .response_written()
            .is_some_and(|head| !head.status.is_informational());
        let Some(problem) = problem_of(e, ctx).filter(|_| !begun) else {
            return FailToProxy {
                error_code: 0,
                can_reuse_downstream: false,
            };
        };
        // What is left of the request's body is not read, so the connection can't be used again.
        session.set_keepalive(None);
        let sent = answer::problem(session, ctx, &problem).await;
        FailToProxy {
            error_code: problem.status().as_u16(),
            // Pingora then closes it properly instead of dropping it.
            can_reuse_downstream: sent.is_ok(),
        }
    }

    /// Ours is the access log.
    fn suppress_error_log(&self, _session: &Session, _ctx: &Context, _error: &Error) -> bool {
        true
    }

    fn suppress_proxy_warn_log(
        &self,
        _session: &Session,
        _ctx: &Context,
        _error: &Error,
        _context: pingora::proxy::ProxyWarnLogContext,
    ) -> bool {
        true
    }

    async fn logging(&self, session: &mut Session, e: Option<&Error>, ctx: &mut Context) {
        ctx.unfinished = None;
        let written = session.response_written().map(|head| head.status);
        let sent = Sent {
            // A call that was refused counts as what it was refused with.
            status: ctx.refused_call.or(written).map_or(0, |s| s.as_u16()),
            bytes: session.body_bytes_sent(),
        };
        let request = Request::of(session.req_header());
        finish(&request, ctx, &sent, || e.map(|e| e.to_string()));
    }
}

/// What `express` found out about the request, or what is found out now.
fn way(session: &mut Session, ctx: &mut Context) -> Way {
    session.set_min_send_rate(None);
    if session.req_header().version == Version::HTTP_10 {
        // It knows of none: RFC 9110 §15.2.
        session.as_downstream_mut().set_ignore_info_resp(true);
    }
    if let Some(found) = front::luggage(session) {
        *ctx = found.ctx;
        return found.way;
    }
    headers::strip_proofs_of(session.req_header_mut());
    ctx.entry = front::entry(session);
    let request = Request::of(session.req_header());
    if let Some(peer) = session.client_addr().and_then(|a| a.as_inet()) {
        let local = session.server_addr().and_then(|a| a.as_inet());
        ctx.comes(*peer, local.copied());
    }
    way::identify(&request, ctx);
    way::find(&request, ctx)
}

/// Tells an authority what it looks for. It has no route.
async fn challenge(session: &mut Session, ctx: &Context, answer: Bytes) -> pingora::Result<()> {
    let mut fields = HeaderMap::new();
    let kind = HeaderValue::from_static("application/octet-stream");
    fields.insert(CONTENT_TYPE, kind);
    fields.insert(CONTENT_LENGTH, answer.len().into());
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    fields.insert(headers::X_REQUEST_ID, headers::value(ctx.id.as_str()));
    let is_head = session.req_header().method == Method::HEAD;
    let head = reply::head(StatusCode::OK, fields);
    session.send_head(head, is_head).await?;
    match is_head {
        true => Ok(()),
        false => session.send_body(answer, true).await,
    }
}

/// Tells a page's browser what it may ask.
async fn preflight(session: &mut Session, ctx: &Context) -> pingora::Result<()> {
    let mut fields = HeaderMap::new();
    headers::to_client(&mut fields, ctx);
    if let Some(cors) = &ctx.routed().cors {
        cors.permit(&mut fields, &session.req_header().headers);
    }
    let head = reply::head(StatusCode::NO_CONTENT, fields);
    session.send_head(head, true).await
}

/// As the last whom it may ask. RFC 9110 §9.3.7.
async fn options(session: &mut Session, ctx: &Context) -> pingora::Result<()> {
    let mut fields = HeaderMap::new();
    fields.insert(ALLOW, HeaderValue::from_static(answer::METHODS));
    headers::to_client(&mut fields, ctx);
    let head = reply::head(StatusCode::NO_CONTENT, fields);
    session.send_head(head, true).await
}

fn sticky(session: &Session, ctx: &Context) -> Option<HeaderValue> {
    let server = ctx.lease.as_ref()?.server().id;
    balance::stick(&session.req_header().headers, server, ctx)
}

/// RFC 9111 §4.4: a write makes what is stored for its URI invalid, and for those that its answer
/// names, on the routes that read them.
fn forget(session: &Session, answer: &ResponseHeader, ctx: &Context) {
    let request = session.req_header();
    if !invalidates(&request.method, answer.status) {
        return;
    }
    forget_target(request, request.raw_path(), ctx);
    for name in [LOCATION, CONTENT_LOCATION] {
        let named = answer.headers.get(name).and_then(|v| v.to_str().ok());
        if let Some(target) = named.and_then(|uri| headers::target_on_same_host(request, uri)) {
            forget_target(request, target.as_bytes(), ctx);
        }
    }
}

fn forget_target(request: &RequestHeader, target: &[u8], ctx: &Context) {
    let Ok(reads) = way::find_route(&ctx.runtime, &Request::of(request), target, &Method::GET)
    else {
        return;
    };
    // Who asks with other fields or claims may read the same on another route.
    let beside = reads.beside.iter().map(|i| &ctx.runtime.routes[*i]);
    for reads in iter::once(reads).chain(beside) {
        forget_on(reads, request, target);
    }
}

fn forget_on(reads: &Route, request: &RequestHeader, target: &[u8]) {
    if let Some(cache) = &reads.cache {
        let url = Url::new(headers::host(request), target);
        // Renditions, and what was chosen by other fields than this request's, have only a name
        // in common.
        let has_more = reads.images.is_some() || cache.keys.has_fields();
        let name = Name::url(&cache.keys.address(&url));
        for (pool, scheme) in reads
            .pools()
            .flat_map(|pool| Scheme::ALL.map(|s| (pool, s)))
        {
            let key = cache.keys.key(&pool.name, scheme, &url, &request.headers);
            let root = cache.keys.root(&pool.name, scheme, &url);
            cache.zone.forget(&key, root.as_ref(), name, has_more);
        }
    }
}

/// None: the client is gone, and nobody can be answered.
fn problem_of(e: &Error, ctx: &Context) -> Option<Problem> {
    Some(match (e.etype(), e.esource()) {
        (ErrorType::HTTPStatus(413), _) => Problem::BodyTooLarge {
            limit: ctx.routed().body_size,
        },
        (kind, _) if *kind == balance::NO_SERVER => Problem::Upstream(Kind::NoServer),
        (kind, _) if *kind == balance::BUSY => Problem::Upstream(Kind::Busy),
        (ErrorType::ReadTimedout, ErrorSource::Downstream) => Problem::BodyTimeout,
        (ErrorType::ReadError, ErrorSource::Downstream) if says(e, InvalidData) => {
            Problem::Malformed("its body is not framed properly")
        }
        (ErrorType::ReadError, ErrorSource::Downstream) if says(e, TimedOut) => {
            Problem::BodyTimeout
        }
        (
            ErrorType::WriteError
            | ErrorType::ReadError
            | ErrorType::ConnectionClosed
            | ErrorType::WriteTimedout,
            ErrorSource::Downstream,
        ) => return None,
        (_, ErrorSource::Downstream) => Problem::Malformed("its body is not framed properly"),
        (ErrorType::ReadTimedout, ErrorSource::Upstream) if ctx.stalled => Problem::BodyTimeout,
        (ErrorType::ReadTimedout | ErrorType::WriteTimedout, ErrorSource::Upstream) => {
            Problem::Upstream(Kind::Timeout)
        }
        (
            ErrorType::ConnectTimedout
            | ErrorType::ConnectRefused
            | ErrorType::ConnectError
            | ErrorType::ConnectNoRoute,
            ErrorSource::Upstream,
        ) => Problem::Upstream(Kind::Connect),
        (_, ErrorSource::Upstream) => Problem::Upstream(Kind::BadAnswer),
        _ => Problem::Internal,
    })
}

/// What `Conn` has against a body: chunks that are none, or that it comes too slowly.
fn says(e: &Error, kind: std::io::ErrorKind) -> bool {
    e.root_cause()
        .downcast_ref::<std::io::Error>()
        .is_some_and(|e| e.kind() == kind)
}
