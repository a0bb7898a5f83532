//! What decides about a request: its head, whoever has read it.

use super::headers;
use crate::listen::Head;
use http::{HeaderMap, Method, Version};
use pingora::http::RequestHeader;

#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub method: &'a Method,
    pub version: Version,
    /// Path and query, as they were sent.
    pub target: &'a [u8],
    pub host: &'a str,
    pub headers: &'a HeaderMap,
}

impl<'a> Request<'a> {
    pub fn of(head: &'a RequestHeader) -> Request<'a> {
        Request {
            method: &head.method,
            version: head.version,
            target: head.raw_path(),
            host: headers::host(head),
            headers: &head.headers,
        }
    }

    /// One that `express` has read.
    pub fn plain(head: &'a Head) -> Request<'a> {
        Request {
            method: &head.method,
            version: Version::HTTP_11,
            target: &head.target,
            host: headers::host_field(&head.fields),
            headers: &head.fields,
        }
    }

    pub fn path_and_query(&self) -> (&'a [u8], Option<&'a [u8]>) {
        path_and_query(self.target)
    }
}

/// A head that `express` has read, as one of Pingora's.
pub fn owned(head: Head) -> pingora::Result<RequestHeader> {
    let (mut parts, ()) = http::Request::new(()).into_parts();
    (parts.method, parts.headers) = (head.method, head.fields);
    let mut request = RequestHeader::from(parts);
    request.set_raw_path(&head.target)?;
    Ok(request)
}

pub fn path_and_query(target: &[u8]) -> (&[u8], Option<&[u8]>) {
    match memchr::memchr(b'?', target) {
        Some(mark) => (&target[..mark], Some(&target[mark + 1..])),
        None => (target, None),
    }
}
