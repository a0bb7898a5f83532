//! gRPC-web: what pages speak, because they see no trailers, made to gRPC and back.
//!
//! Messages pass as they are; in the text form they come and go in base64. Trailers become the body's last
//! frame. <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md>

use super::{Dialect, MESSAGE, STATUS, split};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Set in a frame's first byte where it has trailers.
const TRAILERS: u8 = 0x80;

/// What the JavaScript clients say of themselves.
const X_GRPC_WEB: HeaderName = HeaderName::from_static("x-grpc-web");

/// What pages must be let read, where an answer has no body and its status is among its fields.
pub const EXPOSED: [HeaderName; 3] = [
    STATUS,
    MESSAGE,
    HeaderName::from_static("grpc-status-details-bin"),
];

/// One call, between its page and its server.
#[derive(Debug)]
pub struct Bridge {
    dialect: Dialect,
    request: Base64,
    /// Whether the server answers in gRPC; what else it says passes as it is.
    answers: bool,
}

/// A body in base64 that comes in any parts: what is left of the last four letters.
#[derive(Debug, Default)]
pub struct Base64 {
    letters: [u8; 4],
    held: usize,
}

/// What came is no base64, or only a part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotBase64;

impl Bridge {
    /// None: the request is no call of a page's.
    pub fn of(method: &Method, fields: &HeaderMap) -> Option<Bridge> {
        let dialect = Dialect::of(method, fields).filter(|dialect| *dialect != Dialect::Grpc)?;
        Some(Bridge {
            dialect,
            request: Base64::default(),
            answers: false,
        })
    }

    /// Makes a request's fields those of a call in gRPC.
    pub fn head(&self, fields: &mut HeaderMap) {
        translate(fields, Dialect::Grpc);
        fields.remove(CONTENT_LENGTH);
        fields.remove(X_GRPC_WEB);
        fields.insert(TE, HeaderValue::from_static("trailers"));
    }

    /// The request's body comes from its beginning: once more, where another server is tried.
    pub fn begin(&mut self) {
        self.request = Base64::default();
    }

    /// The next part of the request's body, as gRPC has it.
    pub fn request(&mut self, part: Bytes) -> Result<Bytes, NotBase64> {
        match self.dialect {
            Dialect::WebText => self.request.decode(&part),
            _ => Ok(part),
        }
    }

    /// The request's body is over.
    pub fn end(&self) -> Result<(), NotBase64> {
        self.request.end()
    }

    /// Makes the fields of a server's answer those of one in gRPC-web.
    pub fn answer(&mut self, fields: &mut HeaderMap) {
        self.answers = translate(fields, self.dialect);
        if self.answers {
            fields.remove(CONTENT_LENGTH);
        }
    }

    /// The next part of the answer's body, as the page has it. Each is whole by itself, so that none waits
    /// for the next.
    pub fn part(&self, part: Bytes) -> Bytes {
        match self.dialect {
            Dialect::WebText if self.answers => STANDARD.encode(part).into(),
            _ => part,
        }
    }

    /// The last part, which tells what came after the body. None where there is nobody to read that.
    pub fn trailers(&self, trailers: &HeaderMap) -> Option<Bytes> {
        self.answers.then(|| self.part(frame(trailers)))
    }
}

/// Says another dialect, of the same messages. False: it is no Content-Type of gRPC's.
fn translate(fields: &mut HeaderMap, to: Dialect) -> bool {
    let Some(media) = fields.get(CONTENT_TYPE).map(HeaderValue::as_bytes) else {
        return false;
    };
    let Some((_, rest)) = split(media) else {
        return false;
    };
    let media = [to.media().as_bytes(), rest].concat();
    let media = HeaderValue::from_bytes(&media).expect("the end of a value after plain text");
    fields.insert(CONTENT_TYPE, media);
    true
}

/// Trailers as a frame of the body: a block as HTTP/1.1 has it, names in lower case.
fn frame(trailers: &HeaderMap) -> Bytes {
    let mut block = BytesMut::new();
    for (name, value) in trailers {
        for part in [name.as_str().as_bytes(), b":", value.as_bytes(), b"\r\n"] {
            block.put_slice(part);
        }
    }
    let mut frame = BytesMut::with_capacity(5 + block.len());
    frame.put_u8(TRAILERS);
    frame.put_u32(u32::try_from(block.len()).expect("trailers are bounded like heads"));
    frame.put_slice(&block);
    frame.freeze()
}

impl Base64 {
    /// What is whole by now. Padding may stand anywhere between four letters and the next four: clients code
    /// each part by itself.
    pub fn decode(&mut self, part: &[u8]) -> Result<Bytes, NotBase64> {
        let mut decoded = Vec::with_capacity((self.held + part.len()) / 4 * 3);
        let (fill, rest) = part.split_at(part.len().min((4 - self.held) % 4));
        self.letters[self.held..][..fill.len()].copy_from_slice(fill);
        self.held += fill.len();
        if self.held == 4 {
            append(&self.letters, &mut decoded)?;
            self.held = 0;
        }
        if self.held == 0 {
            let (whole, left) = rest.split_at(rest.len() / 4 * 4);
            append(whole, &mut decoded)?;
            self.letters[..left.len()].copy_from_slice(left);
            self.held = left.len();
        }
        Ok(decoded.into())
    }

    /// No more comes.
    pub fn end(&self) -> Result<(), NotBase64> {
        match self.held {
            0 => Ok(()),
            _ => Err(NotBase64),
        }
    }
}

/// A multiple of four letters.
fn append(letters: &[u8], decoded: &mut Vec<u8>) -> Result<(), NotBase64> {
    let mut rest = letters;
    while !rest.is_empty() {
        // Up to the first padding, which is usually the end.
        let padded = memchr::memchr(b'=', rest).map_or(rest.len(), |at| at / 4 * 4 + 4);
        let (segment, after) = rest.split_at(padded);
        STANDARD
            .decode_vec(segment, decoded)
            .map_err(|_| NotBase64)?;
        rest = after;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use proptest::prelude::*;

    fn bridge(media: &str) -> (Bridge, HeaderMap) {
        let mut fields = HeaderMap::new();
        fields.insert(CONTENT_TYPE, HeaderValue::try_from(media).expect("a value"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(7));
        fields.insert(X_GRPC_WEB, HeaderValue::from(1));
        let bridge = Bridge::of(&Method::POST, &fields).expect("a call");
        bridge.head(&mut fields);
        (bridge, fields)
    }

    /// All frames of a body that must be whole: first bytes and contents.
    fn frames(mut body: &[u8]) -> Vec<(u8, Vec<u8>)> {
        let mut frames = Vec::new();
        while let Some((head, rest)) = body.split_first_chunk::<5>() {
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
            let (content, after) = rest.split_at(length);
            frames.push((head[0], content.to_vec()));
            body = after;
        }
        assert!(body.is_empty());
        frames
    }

    #[test]
    fn heads_are_made_to_grpc_and_back() {
        for (web, grpc) in [
            ("application/grpc-web", "application/grpc"),
            ("application/grpc-web+proto", "application/grpc+proto"),
            (
                "application/grpc-web-text+json;x=1",
                "application/grpc+json;x=1",
            ),
        ] {
            let (mut bridge, mut fields) = bridge(web);
            assert_eq!(fields[CONTENT_TYPE], grpc);
            assert_eq!(fields[TE], "trailers");
            assert_eq!(fields.len(), 2, "{fields:?}");
            bridge.answer(&mut fields);
            assert_eq!(fields[CONTENT_TYPE], web);
        }
    }

    #[test]
    fn what_is_no_answer_of_grpc_passes_as_it_is() {
        let (mut bridge, mut fields) = bridge("application/grpc-web-text");
        fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        fields.insert(CONTENT_LENGTH, HeaderValue::from(2));
        bridge.answer(&mut fields);
        assert_eq!(fields[CONTENT_TYPE], "text/html");
        assert_eq!(fields[CONTENT_LENGTH], "2");
        assert_eq!(bridge.part("hi".into()), "hi");
        assert_eq!(bridge.trailers(&HeaderMap::new()), None);
    }

    #[test]
    fn trailers_are_the_last_frame() {
        let (mut bridge, mut fields) = bridge("application/grpc-web");
        bridge.answer(&mut fields);
        let trailers = HeaderMap::from_iter([
            (STATUS, HeaderValue::from(0)),
            (MESSAGE, HeaderValue::from_static("a b")),
        ]);
        let last = bridge.trailers(&trailers).expect("it answers");
        assert_eq!(
            &last[..],
            b"\x80\0\0\0!grpc-status:0\r\ngrpc-message:a b\r\n"
        );
    }

    #[test]
    fn what_is_no_base64_is_refused() {
        for body in ["AA*A", "A===", "=AAA", "AA=A", "A", "AAA", "AAAAB", "AB=="] {
            let mut request = bridge("application/grpc-web-text").0;
            let decoded = request.request(body.into());
            assert_eq!(
                decoded.and_then(|_| request.end()),
                Err(NotBase64),
                "{body}"
            );
        }
    }

    proptest! {
        /// Whatever the parts that a client codes by itself, and those that the network makes of them.
        #[test]
        fn text_is_read_as_it_was_meant(
            coded in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in proptest::collection::vec(1usize..20, 1..20),
        ) {
            let body: String = coded.iter().map(|part| STANDARD.encode(part)).collect();
            let (mut request, mut read) = (bridge("application/grpc-web-text").0, Vec::new());
            let (mut left, mut cuts) = (body.as_bytes(), cuts.iter().cycle());
            while !left.is_empty() {
                let cut = *cuts.next().expect("endless");
                let (part, rest) = left.split_at(cut.min(left.len()));
                let decoded = request.request(Bytes::copy_from_slice(part));
                read.extend_from_slice(&decoded.expect("base64"));
                left = rest;
            }
            prop_assert_eq!(request.end(), Ok(()));
            prop_assert_eq!(read, coded.concat());
        }

        /// A client that decodes four letters at a time finds the messages, and then the trailers.
        #[test]
        fn an_answer_is_its_frames_and_its_trailers(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in proptest::collection::vec(1usize..20, 1..20),
            text: bool,
        ) {
            let media = ["application/grpc-web", "application/grpc-web-text"][usize::from(text)];
            let (mut bridge, mut fields) = bridge(media);
            bridge.answer(&mut fields);
            let mut body = Vec::new();
            for message in &messages {
                body.push(0);
                body.extend_from_slice(&u32::try_from(message.len()).expect("short").to_be_bytes());
                body.extend_from_slice(message);
            }
            let (mut left, mut cuts, mut sent) = (&body[..], cuts.iter().cycle(), Vec::new());
            while !left.is_empty() {
                let cut = *cuts.next().expect("endless");
                let (part, rest) = left.split_at(cut.min(left.len()));
                sent.extend_from_slice(&bridge.part(Bytes::copy_from_slice(part)));
                left = rest;
            }
            let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from(0))]);
            sent.extend_from_slice(&bridge.trailers(&trailers).expect("it answers"));
            if text {
                sent = Base64::default().decode(&sent).expect("base64").to_vec();
            }
            let mut frames = frames(&sent);
            prop_assert_eq!(frames.pop(), Some((0x80, b"grpc-status:0\r\n".to_vec())));
            let read: Vec<_> = frames.into_iter().map(|(_, content)| content).collect();
            prop_assert_eq!(read, messages);
        }
    }
}
