//! Calls of pages, in gRPC-web, to servers that speak gRPC: where the bridge stands on their way.

use super::context::Context;
use crate::grpc::{Bridge, NotBase64};
use bytes::Bytes;
use http::HeaderMap;
use pingora::proxy::Session;
use pingora::{Error, ErrorType, Result};
use std::io;

/// On a route that has one, for a request that is a call.
pub fn begin(session: &Session, ctx: &mut Context) {
    if ctx.routed().grpc_web {
        let request = session.req_header();
        ctx.bridge = Bridge::of(&request.method, &request.headers).map(Box::new);
    }
}

/// The request's body as the server is to have it; None stays at its end.
pub fn request(body: &mut Option<Bytes>, end: bool, ctx: &mut Context) -> Result<()> {
    let Some(bridge) = &mut ctx.bridge else {
        return Ok(());
    };
    if let Some(part) = body.take() {
        *body = Some(bridge.request(part).map_err(miscoded)?);
    }
    match end {
        true => bridge.end().map_err(miscoded),
        false => Ok(()),
    }
}

/// The answer's body as the page is to have it.
pub fn answer(body: &mut Option<Bytes>, ctx: &Context) {
    if let Some(bridge) = &ctx.bridge {
        *body = body.take().map(|part| bridge.part(part));
    }
}

/// What the page gets for the answer's trailers.
pub fn trailers(trailers: &HeaderMap, ctx: &Context) -> Option<Bytes> {
    ctx.bridge.as_ref()?.trailers(trailers)
}

fn miscoded(_: NotBase64) -> Box<Error> {
    let why = io::Error::new(io::ErrorKind::InvalidData, "a body that is no base64");
    let mut e = Error::because(ErrorType::ReadError, "reading a call", why).into_down();
    e.set_retry(false);
    e
}
