//! Answers that are sent on while they come, as fast as the client takes them.

use super::client::Client;
use super::coded;
use super::context::Context;
use super::headers;
use super::request::Request;
use crate::cache::Interim;
use crate::compress::Stream;
use crate::error::Kind;
use crate::upstream::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::{Error, ErrorType};
use std::future::Future;

/// Sends an answer that only this client may see. `status`: another one than its own.
pub async fn relay(
    client: &mut impl Client,
    ctx: &mut Context,
    response: Response,
    status: Option<StatusCode>,
) -> pingora::Result<()> {
    let request = client.request();
    let (method, version) = (request.method.clone(), request.version);
    let (mut head, mut body) = response.into_parts();
    head.set_version(Version::HTTP_11);
    if let Some(status) = status {
        head.set_status(status)?;
    }
    let (status, mut coding) = (head.status, None);
    let bodiless = method == Method::HEAD || has_no_body(status);
    headers::edit_answer(&mut head, |fields| {
        headers::strip_from_server(fields, false, &ctx.runtime.invalidate_headers);
        coding = coded::begin(fields, status, &Request::of(request), ctx);
        frame(fields, status, version);
        if status == StatusCode::NOT_MODIFIED {
            fields.remove(CONTENT_LENGTH);
        }
        headers::to_client(fields, ctx);
    });
    client.send_head(head, bodiless).await?;
    if bodiless {
        return Ok(());
    }
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = body.chunk() => chunk,
            () = client.rest() => return Err(left()),
        };
        match chunk {
            Ok(Some(chunk)) => write(client, &mut coding, chunk).await?,
            Ok(None) => return end(client, coding).await,
            Err(e) => return Err(broken(ctx, e.kind)),
        }
    }
}

/// HTTP/1.0 knows none: RFC 9110 §15.2.
pub async fn send_interim(client: &mut impl Client, interim: &Interim) -> pingora::Result<()> {
    if client.request().version == Version::HTTP_10 {
        return Ok(());
    }
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = interim.status;
    parts.headers = interim.headers.clone();
    client.send_interim(Box::new(parts.into())).await
}

pub async fn write(
    client: &mut impl Client,
    coding: &mut Option<Stream>,
    chunk: Bytes,
) -> pingora::Result<()> {
    match coded::next(coding, Some(chunk), false)? {
        // Nothing to send yet.
        None => Ok(()),
        Some(part) => client.send_body(part, false).await,
    }
}

pub async fn end(client: &mut impl Client, mut coding: Option<Stream>) -> pingora::Result<()> {
    let last = coded::next(&mut coding, None, true)?;
    client.send_body(last.unwrap_or_default(), true).await
}

/// Waits for the next part of a body that others wait for too. That this client only sends no more
/// is no matter; that it has left, a write will tell.
pub async fn next<T>(client: &mut impl Client, part: impl Future<Output = T>) -> T {
    let mut part = std::pin::pin!(part);
    tokio::select! {
        biased;
        part = &mut part => return part,
        () = client.rest() => {}
    }
    part.await
}

/// Nobody is left to answer to.
pub fn left() -> Box<Error> {
    Error::explain(ErrorType::ConnectionClosed, "the client has left").into_down()
}

/// The client must see a broken transfer, so the connection ends without the body's end.
pub fn broken(ctx: &mut Context, kind: Kind) -> Box<Error> {
    ctx.error = Some(format!("the answer broke off: {kind:?}"));
    Error::explain(ErrorType::ConnectionClosed, "the server's answer broke off").into_up()
}

/// Without a length, HTTP/1.1 needs chunks, which a HEAD is told of too; HTTP/1.0 reads to the
/// connection's end; HTTP/2 frames.
pub fn frame(fields: &mut HeaderMap, status: StatusCode, version: Version) {
    fields.remove(TRANSFER_ENCODING);
    if !has_no_body(status) && version == Version::HTTP_11 && !fields.contains_key(CONTENT_LENGTH) {
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// RFC 9110 §6.4.1.
pub fn has_no_body(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
