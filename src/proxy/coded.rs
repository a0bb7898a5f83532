//! Content codings on a request's way: answers coded as they pass.
//!
//! Where an answer may be coded, all clients are told that it varies by Accept-Encoding; those
//! that accept a coding get it. A request for a part, and one from HTTP/1.0, where only the end of
//! the connection would tell the body's end, gets the bytes as they are.

use super::context::Context;
use crate::coding::{Accepted, Coding};
use crate::compress::{Encoders, Stream, coded_tag, compressible, forbids, known_tag, vary};
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

/// Lets the client's conditions be understood by those who know nothing of coded forms.
pub fn translate_conditions(session: &mut Session) -> pingora::Result<()> {
    let plain = crate::compress::plain_tags(&session.req_header().headers);
    for (name, tag) in plain {
        session.req_header_mut().append_header(name, tag)?;
    }
    Ok(())
}

/// Makes an answer's head that of its coded form, where this client is to have one. Its body must
/// then go through what this returns; None: as it is.
pub fn begin(
    fields: &mut HeaderMap,
    status: StatusCode,
    request: &RequestHeader,
    ctx: &Context,
    encoders: &Encoders,
) -> Option<Stream> {
    if !ctx.routed().compress {
        return None;
    }
    if status == StatusCode::NOT_MODIFIED {
        name_what_is_known(fields, &request.headers);
    }
    if !compressible(status, fields) {
        return None;
    }
    vary(fields);
    let coding = wanted(request)?.best(Encoders::STREAMED)?;
    if request.version == Version::HTTP_10 {
        return None;
    }
    // The stream's place is taken for a HEAD too, so that it says what a GET would.
    let stream = encoders.stream(coding, length(fields))?;
    describe(fields, coding);
    fields.remove(CONTENT_LENGTH);
    if request.version == Version::HTTP_11 {
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    (request.method != Method::HEAD).then_some(stream)
}

/// Codes a part of a body. `stream` is empty when the body needs it no more.
pub fn next(
    stream: &mut Option<Stream>,
    chunk: Option<Bytes>,
    end: bool,
) -> pingora::Result<Option<Bytes>> {
    let Some(open) = stream else {
        return Ok(chunk);
    };
    let chunk = chunk.unwrap_or_default();
    let coded = match end {
        false => open.push(&chunk),
        true => stream
            .take()
            .map_or(Ok(Bytes::new()), |open| open.finish(&chunk)),
    };
    let coded =
        coded.map_err(|e| Error::because(ErrorType::InternalError, "coding an answer", e))?;
    Ok(Some(coded).filter(|coded| !coded.is_empty()))
}

/// A 304 names what the client has, which may be the coded form.
pub fn name_what_is_known(fields: &mut HeaderMap, request: &HeaderMap) {
    let known = fields.get(ETAG).and_then(|tag| known_tag(request, tag));
    if let Some(tag) = known {
        fields.insert(ETAG, tag);
        vary(fields);
    }
}

/// What a request would have an answer coded in; None: in nothing.
fn wanted(request: &RequestHeader) -> Option<Accepted> {
    (!forbids(&request.headers)).then(|| Accepted::of(&request.headers))
}

/// Says what coding makes of the fields that describe a body.
fn describe(fields: &mut HeaderMap, coding: Coding) {
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.token()));
    // Parts are of the plain bytes.
    fields.remove(ACCEPT_RANGES);
    if let Some(tag) = fields.get(ETAG).and_then(|tag| coded_tag(tag, coding)) {
        fields.insert(ETAG, tag);
    }
}

fn length(fields: &HeaderMap) -> Option<u64> {
    fields.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}
