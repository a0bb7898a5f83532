//! What a stored object answers a request with: the whole, parts of it, or that nothing changed.

use super::client::Client;
use super::coded;
use super::context::{CacheStatus, Context};
use super::finish::Sent;
use super::headers;
use super::request::Request;
use crate::cache::{Object, Parts, Zone, content_range, multipart, no_range, not_modified, parts};
use crate::upstream::Response;
use bytes::Bytes;
use http::header::{
    AGE, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_RANGE, CONTENT_TYPE, DATE, ETAG,
    EXPIRES, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RANGE, VARY,
};
use http::{HeaderMap, HeaderName, Method, StatusCode};
use pingora::http::ResponseHeader;
use std::sync::Arc;

/// A stored object that answers a request as it is.
pub struct Hit {
    pub zone: Arc<Zone<Response>>,
    pub object: Arc<Object>,
    /// When it was found good enough; Unix seconds.
    pub now: u64,
}

impl Hit {
    pub fn reply(&self, request: &Request<'_>, ctx: &mut Context) -> Reply {
        self.count(ctx);
        Reply::new(&self.object, request, ctx, self.now)
    }

    /// Writes the answer as HTTP/1.1, but for a body larger than `copied`, which it gives: that is
    /// to be sent from where it is.
    pub fn write(
        &self,
        request: &Request<'_>,
        ctx: &mut Context,
        out: &mut Vec<u8>,
        copied: usize,
    ) -> (Sent, Bytes) {
        if !self.is_whole(request, ctx) {
            let reply = self.reply(request, ctx);
            write_status(out, reply.status);
            write_fields(out, reply.fields);
            return write_body(out, reply.status, &reply.body, copied);
        }
        self.count(ctx);
        let object = &*self.object;
        write_status(out, object.status);
        out.extend_from_slice(&object.head);
        write_number(out, b"Content-Length: ", object.body.len() as u64);
        write_number(out, b"Age: ", object.freshness.age(self.now));
        headers::write_to_client(out, ctx);
        out.extend_from_slice(b"\r\n");
        match *request.method {
            Method::HEAD => write_body(out, object.status, &Bytes::new(), copied),
            _ => write_body(out, object.status, &object.body, copied),
        }
    }

    /// Whether the answer is all that is stored, field by field.
    fn is_whole(&self, request: &Request<'_>, ctx: &Context) -> bool {
        let conditions = [IF_NONE_MATCH, IF_MODIFIED_SINCE, RANGE];
        self.object.status == StatusCode::OK
            && ctx.routed().leaves_answers()
            && !conditions
                .iter()
                .any(|name| request.headers.contains_key(name))
    }

    fn count(&self, ctx: &mut Context) {
        let ttl = self.object.freshness.ttl(self.now);
        self.zone.metrics.answered(ttl);
        ctx.cache = Some(CacheStatus::Hit { ttl });
    }
}

/// An answer that is all there.
pub struct Reply {
    pub status: StatusCode,
    pub fields: HeaderMap,
    /// Empty where the request is for the head alone.
    pub body: Bytes,
}

impl Reply {
    pub fn new(object: &Object, request: &Request<'_>, ctx: &Context, now: u64) -> Reply {
        let age = object.freshness.age(now);
        let mut reply = match object.status {
            StatusCode::OK if not_modified(request.headers, &object.headers) => Reply {
                status: StatusCode::NOT_MODIFIED,
                fields: not_modified_fields(&object.headers, request.headers),
                body: Bytes::new(),
            },
            _ => Reply::with_body(object, request),
        };
        complete(&mut reply.fields, age, ctx);
        reply
    }

    fn with_body(object: &Object, request: &Request<'_>) -> Reply {
        let mut fields = object.headers.clone();
        let (status, mut body) = part(object, request, &mut fields);
        if status != StatusCode::NO_CONTENT {
            fields.insert(CONTENT_LENGTH, body.len().into());
        }
        if request.method == Method::HEAD {
            body = Bytes::new();
        }
        Reply {
            status,
            fields,
            body,
        }
    }

    pub async fn send(self, client: &mut impl Client) -> pingora::Result<()> {
        let bodiless = self.body.is_empty();
        let head = head(self.status, self.fields);
        client.send_head(head, bodiless).await?;
        if !bodiless {
            client.send_body(self.body, true).await?;
        }
        Ok(())
    }
}

pub fn write_status(out: &mut Vec<u8>, status: StatusCode) {
    if status == StatusCode::OK {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(status.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(status.canonical_reason().unwrap_or("").as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub fn write_fields(out: &mut Vec<u8>, fields: HeaderMap) {
    head(StatusCode::OK, fields).header_to_h1_wire(out);
    out.extend_from_slice(b"\r\n");
}

/// Gives the body if it is not to be copied.
fn write_body(out: &mut Vec<u8>, status: StatusCode, body: &Bytes, copied: usize) -> (Sent, Bytes) {
    let sent = Sent {
        status: status.as_u16(),
        bytes: body.len(),
    };
    if body.len() > copied {
        return (sent, body.clone());
    }
    out.extend_from_slice(body);
    (sent, Bytes::new())
}

fn write_number(out: &mut Vec<u8>, field: &[u8], number: u64) {
    out.extend_from_slice(field);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

pub fn head(status: StatusCode, fields: HeaderMap) -> Box<ResponseHeader> {
    let (mut parts, ()) = http::Response::new(()).into_parts();
    parts.status = status;
    parts.headers = fields;
    Box::new(parts.into())
}

/// What every answer out of the cache says beside what was stored.
pub fn complete(fields: &mut HeaderMap, age: u64, ctx: &Context) {
    fields.insert(AGE, age.into());
    headers::to_client(fields, ctx);
}

/// RFC 9110 §15.4.5: what a 200 would have said, without what describes a body.
pub fn not_modified_fields(fields: &HeaderMap, request: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::with_capacity(12);
    for name in [
        CACHE_CONTROL,
        CONTENT_LOCATION,
        DATE,
        ETAG,
        EXPIRES,
        LAST_MODIFIED,
        VARY,
    ] {
        for value in fields.get_all(&name) {
            kept.append(name.clone(), value.clone());
        }
    }
    coded::name_what_is_known(&mut kept, request);
    kept
}

/// What was computed over the whole, and is wrong beside less of it: RFC 9530 §2, RFC 1864.
/// `Repr-Digest` and `Digest` are about the whole wherever they stand.
const OF_THE_CONTENT: [HeaderName; 2] = [
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("content-md5"),
];

/// What of a stored answer the request asks for: RFC 9110 §14.2, for GET only.
fn part(object: &Object, request: &Request<'_>, fields: &mut HeaderMap) -> (StatusCode, Bytes) {
    if object.status != StatusCode::OK || request.method != Method::GET {
        return (object.status, object.body.clone());
    }
    let length = object.body.len();
    let parts = parts(request.headers, &object.headers, length);
    if parts != Parts::Whole {
        OF_THE_CONTENT
            .iter()
            .for_each(|name| drop(fields.remove(name)));
    }
    match parts {
        Parts::Whole => (StatusCode::OK, object.body.clone()),
        Parts::Some(parts) => match &parts[..] {
            [part] => {
                fields.insert(CONTENT_RANGE, content_range(part, length));
                (StatusCode::PARTIAL_CONTENT, object.body.slice(part.clone()))
            }
            parts => {
                let boundary = format!("{:032x}", fastrand::u128(..));
                let content_type = object.headers.get(CONTENT_TYPE);
                let (content_type, body) = multipart(&object.body, parts, content_type, &boundary);
                fields.insert(CONTENT_TYPE, content_type);
                (StatusCode::PARTIAL_CONTENT, body.into())
            }
        },
        Parts::Unsatisfiable => {
            fields.insert(CONTENT_RANGE, no_range(length));
            (StatusCode::RANGE_NOT_SATISFIABLE, Bytes::new())
        }
    }
}
