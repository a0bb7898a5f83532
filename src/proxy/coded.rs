//! Content codings on a request's way.
//!
//! Where an answer may be coded, all clients are told that it varies by Accept-Encoding, and those
//! that accept a coding get it: what is stored as it was made once, what passes as it comes. A
//! request for a part gets the bytes as they are, and so does one from HTTP/1.0 of what passes:
//! there, only the end of the connection would tell the body's end.

use super::context::Context;
use super::request::Request;
use crate::cache::{Encoded, Key, Object, Zone};
use crate::coding::{Accepted, Coding, accepts};
use crate::compress::{
    Encoders, MIN_LENGTH, Stream, coded_tag, compressible, forbids, known_tag, plain_tags, vary,
};
use crate::runtime::Route;
use crate::upstream::Response;
use bytes::Bytes;
use http::header::{ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, ETAG, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version};
use pingora::http::RequestHeader;
use pingora::{Error, ErrorType};
use std::sync::Arc;
use std::time::Duration;

/// Whoever asks for a stored body up to this size while it is being coded waits for that, and so
/// long: what it saves on the way to the client takes longer there. A larger one is sent as it is.
const WAITED_FOR: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_millis(100);

/// What of a stored object a request gets.
pub enum Form {
    Is(Arc<Object>),
    /// A coded form that is yet to be made.
    ToBe(Coding),
    /// It is stored in a coding, by its origin, that the client does not accept.
    Refused,
}

/// A stored object that is yet to be coded for a request.
pub struct ToCode {
    pub zone: Arc<Zone<Response>>,
    pub key: Key,
    pub object: Arc<Object>,
    pub coding: Coding,
}

pub fn form(request: &Request<'_>, ctx: &Context, object: &Arc<Object>) -> Form {
    let Some(encoded) = object.encoded.as_deref() else {
        return match !object.is_coded || is_readable(request.headers, &object.headers) {
            true => Form::Is(object.clone()),
            false => Form::Refused,
        };
    };
    let coding = match ctx.routed().compress && !forbids(request.headers) {
        true => Accepted::of(request.headers).best(Encoders::STORED),
        false => None,
    };
    match coding.map(|coding| (coding, encoded.get(coding))) {
        None | Some((_, Some(None))) => Form::Is(object.clone()),
        Some((coding, None)) => Form::ToBe(coding),
        Some((coding, Some(Some(made)))) => {
            if !ctx.looking {
                ctx.runtime.encoders.of(coding).stored.inc();
            }
            Form::Is(made.clone())
        }
    }
}

/// Whether the client can read what its origin has coded, if it has.
pub fn is_readable(request: &HeaderMap, answer: &HeaderMap) -> bool {
    let coded = answer.get(CONTENT_ENCODING);
    coded.is_none_or(|codings| accepts(request, codings))
}

impl ToCode {
    /// The coded form once it is made; the plain one where that takes long.
    pub async fn run(self, ctx: &Context) -> Arc<Object> {
        let (coding, object) = (self.coding, self.object.clone());
        let Some(encoded) = object.encoded.as_deref() else {
            return object;
        };
        if encoded.start(coding) && !self.start(&ctx.runtime.encoders) {
            return object;
        }
        if object.body.len() > WAITED_FOR {
            return object;
        }
        match pingora::time::timeout(PATIENCE, encoded.wait(coding)).await {
            Ok(Some(made)) => {
                ctx.runtime.encoders.of(coding).stored.inc();
                made.clone()
            }
            _ => object,
        }
    }

    /// Has it made on a thread, once for all; false when too much waits there already.
    fn start(self, encoders: &Encoders) -> bool {
        let ToCode {
            zone,
            key,
            object,
            coding,
        } = self;
        let Some(encoded) = object.encoded.as_deref() else {
            return false;
        };
        let Ok(job) = encoders.start(coding, object.body.clone()) else {
            encoded.give_up(coding);
            return false;
        };
        let object = object.clone();
        tokio::spawn(async move {
            let body = job.await;
            if let Some(encoded) = object.encoded.as_deref() {
                encoded.set(
                    coding,
                    body.map(|body| Arc::new(coded(&object, coding, body))),
                );
            }
            zone.reweigh(&key, &object);
        });
        true
    }
}

/// Tells in an answer that is stored, or streamed to several, that it may come coded.
pub fn announce(route: &Route, status: StatusCode, fields: &mut HeaderMap) {
    if route.compress && compressible(status, fields) {
        vary(fields);
    }
}

/// Where the coded forms of what is stored will be.
pub fn to_be(
    route: &Route,
    status: StatusCode,
    fields: &HeaderMap,
    body: &Bytes,
) -> Option<Box<Encoded>> {
    let worth = body.len() as u64 >= MIN_LENGTH;
    (worth && route.compress && compressible(status, fields)).then(Box::default)
}

/// The coded forms of `object`, which is `stale` with another head.
pub fn renewed(route: &Route, stale: &Object, object: &Object) -> Option<Box<Encoded>> {
    let none_yet = to_be(route, object.status, &object.headers, &object.body)?;
    let renew = |coding, old: &Object| coded(object, coding, old.body.clone());
    let known = stale.encoded.as_deref();
    Some(known.map_or(none_yet, |known| Box::new(known.renewed(renew))))
}

fn coded(plain: &Object, coding: Coding, body: Bytes) -> Object {
    let mut headers = plain.headers.clone();
    describe(&mut headers, coding);
    headers.insert(CONTENT_LENGTH, body.len().into());
    Object::new(
        plain.status,
        headers,
        body,
        plain.freshness,
        plain.names.clone(),
    )
}

/// Lets the client's conditions be understood by those who know nothing of coded forms.
pub fn translate_conditions(request: &mut RequestHeader) -> pingora::Result<()> {
    for (name, tag) in plain_tags(&request.headers) {
        request.append_header(name, tag)?;
    }
    Ok(())
}

/// A 304 names what the client has, which may be a coded form.
pub fn name_what_is_known(fields: &mut HeaderMap, request: &HeaderMap) {
    let known = fields.get(ETAG).and_then(|tag| known_tag(request, tag));
    if let Some(tag) = known {
        fields.insert(ETAG, tag);
        vary(fields);
    }
}

/// Makes an answer's head that of its coded form, where this client is to have one. Its body must
/// then go through what this returns; None: as it is.
pub fn begin(
    fields: &mut HeaderMap,
    status: StatusCode,
    request: &Request<'_>,
    ctx: &Context,
) -> Option<Stream> {
    if !ctx.routed().compress {
        return None;
    }
    if status == StatusCode::NOT_MODIFIED {
        name_what_is_known(fields, request.headers);
    }
    if !compressible(status, fields) {
        return None;
    }
    vary(fields);
    if forbids(request.headers) || request.version == Version::HTTP_10 {
        return None;
    }
    let coding = Accepted::of(request.headers).best(Encoders::STREAMED)?;
    let length = fields.get(CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    // A HEAD takes a place too, so that it is told what a GET would be.
    let stream = ctx.runtime.encoders.stream(coding, length)?;
    describe(fields, coding);
    fields.remove(CONTENT_LENGTH);
    if request.version == Version::HTTP_11 {
        fields.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
    (request.method != Method::HEAD).then_some(stream)
}

/// A part of a body as it is sent, which may be nothing yet.
pub fn next(
    stream: &mut Option<Stream>,
    chunk: Option<Bytes>,
    end: bool,
) -> pingora::Result<Option<Bytes>> {
    let Some(mut open) = stream.take() else {
        return Ok(chunk);
    };
    let chunk = chunk.unwrap_or_default();
    let coded = match end {
        true => open.finish(&chunk),
        false => {
            let coded = open.push(&chunk);
            *stream = Some(open);
            coded
        }
    };
    let coded =
        coded.map_err(|e| Error::because(ErrorType::InternalError, "coding an answer", e))?;
    Ok(Some(coded).filter(|coded| !coded.is_empty()))
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
