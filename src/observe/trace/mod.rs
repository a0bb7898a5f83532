//! Traces: what became of a request, as spans for a collector of OpenTelemetry.
//!
//! Which requests are traced is decided at their head: as the one says who asks, where it is trusted to,
//! else by chance. One that is not traced costs that look and nothing else. Spans are handed to a task of
//! their own when a request is done, which sends many at once; what it can't take is dropped and counted.

mod context;
mod export;
mod otlp;

pub use context::{SpanId, TRACEPARENT, TRACESTATE, TraceId, Traceparent};
pub use export::{Deliver, Tracer};
pub use otlp::{Kind, Span};

use http::HeaderMap;

/// A request that is traced.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    pub id: TraceId,
    /// The client's span that it is part of.
    pub parent: Option<SpanId>,
    pub span: SpanId,
}

impl Trace {
    /// None: it is not traced. What the client has decided counts where `trusted`: else anybody could
    /// have everything traced. `draw` is a random number of [0, 1).
    pub fn begin(
        fields: &HeaderMap,
        trusted: bool,
        sample: f64,
        draw: impl Fn() -> f64,
    ) -> Option<Trace> {
        // Most have neither: they need not be asked what they say.
        if !trusted && draw() >= sample {
            return None;
        }
        let theirs = Traceparent::of(fields);
        let is_sampled = match theirs.filter(|_| trusted) {
            Some(theirs) => theirs.sampled,
            None => !trusted || draw() < sample,
        };
        is_sampled.then(|| Trace {
            id: theirs.map_or_else(TraceId::new, |theirs| theirs.trace),
            parent: theirs.map(|theirs| theirs.span),
            span: SpanId::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_who_is_trusted_decides_for_others() {
        let told = |flags: &str| {
            let text = format!("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-{flags}");
            let mut fields = HeaderMap::new();
            fields.insert(TRACEPARENT, HeaderValue::try_from(text).expect("ASCII"));
            fields
        };
        let begin = |fields: &HeaderMap, trusted, draw| Trace::begin(fields, trusted, 0.5, || draw);
        let (yes, no, nothing) = (told("01"), told("00"), HeaderMap::new());
        assert!(begin(&yes, true, 0.9).is_some() && begin(&no, true, 0.1).is_none());
        assert!(begin(&yes, false, 0.9).is_none() && begin(&nothing, true, 0.9).is_none());
        let trace = begin(&no, false, 0.1).expect("by chance");
        assert_eq!(trace.id.to_string(), "0af7651916cd43dd8448eb211c80319c");
        let parent = trace.parent.expect("the client's");
        assert_eq!(parent.to_string(), "b7ad6b7169203331");
        let own = begin(&nothing, false, 0.1).expect("by chance");
        assert!(own.parent.is_none() && own.id != trace.id);
    }
}
