//! The pass way's part in balancing: a server is picked, told how it did, and another tried.
//!
//! Pingora asks for a server, says what became of it, and asks again when told to. What may be
//! tried again is `upstream`'s to decide; here it only learns what has happened.

use super::context::{CacheStatus, Context};
use super::request::{Request, path_and_query};
use super::{front, headers};
use crate::cache::Scheme;
use crate::grpc::Dialect;
use crate::guard::cookie;
use crate::upstream::{
    Asked, Busy, Ends, HashKey, Lease, Outcome, Pool, ServerId, Time, Turn, broken, hash_of, peer,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use pingora::proxy::Session;
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, RetryType};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::{Duration, Instant, SystemTime};

/// An upstream had no server to pick.
pub const NO_SERVER: ErrorType = ErrorType::Custom("no server");

/// An upstream has as many requests as it may have, and as many wait.
pub const BUSY: ErrorType = ErrorType::Custom("busy");

/// An answer that another server may better, so it was not passed on.
const TRY_ANOTHER: ErrorType = ErrorType::Custom("another server is tried");

/// After a kept connection turned out to be closed, the server gets a new one: all that are kept
/// may be of the same age.
const FRESH: u64 = 1;

/// Picks the server that gets the request next.
pub async fn pick(session: &mut Session, ctx: &mut Context) -> pingora::Result<HttpPeer> {
    // The one before, if any, failed: it no longer counts as busy.
    ctx.lease = None;
    let pool = &ctx.pool().clone();
    if !ctx.tries.ready(pool).await {
        return Err(nothing_left(ctx));
    }
    if ctx.turn.is_none() {
        let begun = Instant::now();
        ctx.turn = enter(session, ctx, pool).await?;
        ctx.journal.waited = ctx.turn.is_some().then(|| begun.elapsed());
    }
    if ctx.preferred.is_none() {
        ctx.preferred = preferred(&session.req_header().headers, pool);
    }
    let remaining = remaining(ctx)?;
    let lease = lease(session, ctx, pool).ok_or_else(|| nothing_left(ctx))?;
    let mut peer = peer(pool, &lease, remaining, Some(&ends(ctx)));
    if ctx.stale_connection {
        peer.group_key |= FRESH;
        peer.options.idle_timeout = Some(Duration::from_secs(1));
    }
    ctx.tries.add(&lease);
    ctx.journal.begin(&lease);
    ctx.lease = Some(lease);
    Ok(peer)
}

/// A connection was not made, or broke before its answer began. Whether to try again.
pub fn failed(ctx: &mut Context, outcome: Outcome, repeatable: bool) -> bool {
    let now = Time::now();
    tell(ctx, outcome, now);
    let pool = ctx.pool().clone();
    ctx.tries.again(&pool, outcome, repeatable, now)
}

/// The server's answer begins. An error means that it is not passed on.
pub fn answered(session: &Session, ctx: &mut Context, status: StatusCode) -> pingora::Result<()> {
    let (outcome, now) = (Outcome::Answered(status.as_u16()), Time::now());
    tell(ctx, outcome, now);
    if !outcome.is_failure() {
        return Ok(());
    }
    let (pool, repeatable) = (ctx.pool().clone(), is_repeatable(session));
    match ctx.tries.again(&pool, outcome, repeatable, now) {
        true => Err(Error::explain(TRY_ANOTHER, status.as_str().to_owned()).into_up()),
        false => Ok(()),
    }
}

fn tell(ctx: &mut Context, outcome: Outcome, now: Time) {
    ctx.journal.ended(outcome);
    if let Some(lease) = &mut ctx.lease {
        lease.tell(outcome, now);
    }
    if let Some(turn) = ctx.turn.as_ref().filter(|_| outcome.took_its_time()) {
        turn.answered();
    }
}

/// The exchange with the server broke off. Whether to try again.
pub fn broke(session: &Session, ctx: &mut Context, e: &Error, reused: bool) -> bool {
    if *e.etype() == TRY_ANOTHER {
        return true;
    }
    if *e.esource() != ErrorSource::Upstream {
        return false;
    }
    if *e.etype() == ErrorType::ReadTimedout && is_stalled(session, ctx) {
        ctx.stalled = true;
        return false;
    }
    let repeatable = is_repeatable(session) || is_untouched(e) && is_whole(session);
    if reused && *e.etype() != ErrorType::ReadTimedout && session.response_written().is_none() {
        // That a kept connection was closed says nothing of its server.
        ctx.stale_connection = true;
        ctx.tries.forgive();
        ctx.journal.forgive();
        return repeatable;
    }
    failed(ctx, broken(e), repeatable)
}

/// Whether the server has not got the whole request yet, so that nothing is known of it. A call of gRPC may be
/// answered before that, and a route's timeout is nobody's patience.
fn is_stalled(session: &Session, ctx: &Context) -> bool {
    let request = session.req_header();
    let limit = ctx.routed().timeout;
    front::waits_for_client(session)
        && limit.is_none_or(|limit| ctx.started.elapsed() < limit)
        && Dialect::of(&request.method, &request.headers).is_none()
}

/// RFC 9110 §9.2.2, and all of the request is still there, and nothing was answered.
fn is_repeatable(session: &Session) -> bool {
    session.req_header().method.is_idempotent() && is_whole(session)
}

fn is_whole(session: &Session) -> bool {
    !session.as_ref().retry_buffer_truncated() && session.response_written().is_none()
}

/// The server has said that it has done nothing of it: REFUSED_STREAM, or a GOAWAY before it. RFC 9113 §8.7.
fn is_untouched(e: &Error) -> bool {
    *e.etype() == ErrorType::H2Error && matches!(e.retry, RetryType::Decided(true))
}

/// Chooses the request's side of a split.
pub fn take_side(request: &Request<'_>, ctx: &mut Context) {
    let Some(split) = &ctx.routed().split else {
        return;
    };
    let key = |key: &HashKey| hash(key, request.headers, request.target, ctx);
    ctx.side = Some(split.choose(split.key.as_ref().map(key)));
}

/// Tells the split how a request of its side went; what came from the cache says nothing.
pub fn tell_side(ctx: &Context, status: u16) {
    let hit = matches!(ctx.cache, Some(CacheStatus::Hit { .. }));
    if let (Some(split), Some(side), false) = (&ctx.routed().split, ctx.side, hit) {
        split.told(side, status >= 500, Time::now());
    }
}

/// Waits for a turn where the upstream's concurrency is limited, as long as the client does.
async fn enter(session: &mut Session, ctx: &Context, pool: &Pool) -> pingora::Result<Option<Turn>> {
    let longest = remaining(ctx)?.unwrap_or(Duration::MAX);
    let entered = tokio::time::timeout(longest, pool.group.gate.enter(ctx.routed().priority));
    let mut entered = pin!(entered);
    let entered = match session.is_body_done() {
        // Else that would read the request's body.
        false => entered.await,
        true => tokio::select! {
            biased;
            entered = &mut entered => entered,
            _ = session.read_body_or_idle(true) => {
                return Err(Error::explain(ErrorType::ConnectionClosed, "left the queue").into_down());
            }
        },
    };
    entered.unwrap_or(Err(Busy::WaitedTooLong)).map_err(|why| {
        pool.group.metrics.busy.inc();
        Error::explain(BUSY, format!("{why:?}")).into_up()
    })
}

/// Of the route's timeout.
fn remaining(ctx: &Context) -> pingora::Result<Option<Duration>> {
    let left = |limit: Duration| limit.saturating_sub(ctx.started.elapsed());
    match ctx.routed().timeout.map(left) {
        Some(Duration::ZERO) => Err(late()),
        left => Ok(left),
    }
}

/// The server that the client is to stay with, by its sticky cookie.
pub fn preferred(fields: &HeaderMap, pool: &Pool) -> Option<ServerId> {
    let sticky = pool.sticky.as_ref()?;
    sticky.read(headers::cookies(fields), SystemTime::now())
}

/// What names the server in the sticky cookie, when the client's names another or none.
pub fn stick(fields: &HeaderMap, server: ServerId, ctx: &Context) -> Option<HeaderValue> {
    let sticky = ctx.pool().sticky.as_ref()?;
    sticky.needs_issue(ctx.preferred, server).then(|| {
        let secure = headers::scheme(fields, ctx) == Scheme::Https;
        headers::value(&sticky.issue(server, SystemTime::now(), secure))
    })
}

fn lease(session: &Session, ctx: &Context, pool: &Pool) -> Option<Lease> {
    let request = session.req_header();
    pool.pick(&Asked {
        tried: &ctx.tries.tried,
        preferred: ctx.preferred,
        key: key(&request.headers, request.raw_path(), ctx),
        now: Time::now(),
    })
}

/// What the request goes by where its upstream balances by hash.
pub fn key(fields: &HeaderMap, target: &[u8], ctx: &Context) -> Option<u64> {
    let key = ctx.pool().hash_key()?;
    Some(hash(key, fields, target, ctx))
}

/// The client's connection, as servers are told of it. Of a client behind a trusted proxy nobody knows
/// the port, and of what is no address of TCP nothing is said.
pub fn ends(ctx: &Context) -> Ends {
    let port = match ctx.client == ctx.peer {
        true => ctx.peer_port,
        false => 0,
    };
    let nothing = || match ctx.client {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
        IpAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
    };
    let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    Ends {
        client: SocketAddr::new(ctx.client, port),
        edge: ctx.local.map_or_else(nothing, plain),
    }
}

/// What the request is told apart by; by its client's address if it has no such thing.
fn hash(key: &HashKey, fields: &HeaderMap, target: &[u8], ctx: &Context) -> u64 {
    let found = match key {
        HashKey::ClientAddress => None,
        HashKey::Header(name) => fields.get(name).map(|value| value.as_bytes()),
        HashKey::Cookie(name) => cookie(fields, name),
        HashKey::Claim(name) => {
            let claims = ctx.claims.as_deref();
            claims
                .and_then(|claims| claims.get(name))
                .map(str::as_bytes)
        }
        HashKey::Path => Some(path_and_query(target).0),
    };
    match (found, ctx.client) {
        (Some(text), _) => hash_of(text),
        (None, IpAddr::V4(v4)) => hash_of(&v4.octets()),
        (None, IpAddr::V6(v6)) => hash_of(&v6.octets()),
    }
}

fn late() -> Box<Error> {
    Error::explain(ErrorType::ReadTimedout, "the route's timeout has passed").into_up()
}

fn nothing_left(ctx: &Context) -> Box<Error> {
    let why = match ctx.tries.failed() {
        true => ErrorType::ConnectError,
        false => NO_SERVER,
    };
    Error::explain(why, "no server left to try").into_up()
}
