//! Spans as OTLP's JSON, <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: ids in
//! hexadecimal digits, 64-bit numbers as text.

use super::{SpanId, TraceId};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::borrow::Cow;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

#[derive(Clone, Debug)]
pub struct Span {
    pub trace: TraceId,
    pub id: SpanId,
    pub parent: Option<SpanId>,
    pub kind: Kind,
    pub name: String,
    pub begun: SystemTime,
    pub took: Duration,
    /// By the names of OpenTelemetry's conventions, or `lakh.…`.
    pub attributes: Vec<(&'static str, Value)>,
    /// Why it failed.
    pub error: Option<String>,
}

/// `SpanKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Server = 2,
    Client = 3,
}

/// `STATUS_CODE_ERROR`.
const FAILED: u8 = 2;

/// An `ExportTraceServiceRequest`.
pub fn request(service: &str, spans: &[Span]) -> Vec<u8> {
    let service = [("service.name", Value::from(service))];
    let scope = Scope {
        name: "lakh",
        version: env!("CARGO_PKG_VERSION"),
    };
    let whole = Request {
        resource_spans: [ResourceSpans {
            resource: Resource {
                attributes: attributes(&service),
            },
            scope_spans: [ScopeSpans { scope, spans }],
        }],
    };
    serde_json::to_vec(&whole).expect("text and numbers")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    resource_spans: [ResourceSpans<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ResourceSpans<'a> {
    resource: Resource<'a>,
    scope_spans: [ScopeSpans<'a>; 1],
}

#[derive(Serialize)]
struct Resource<'a> {
    attributes: Vec<Attribute<'a>>,
}

#[derive(Serialize)]
struct ScopeSpans<'a> {
    scope: Scope,
    spans: &'a [Span],
}

#[derive(Serialize)]
struct Scope {
    name: &'static str,
    version: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SpanText<'a> {
    trace_id: String,
    span_id: String,
    parent_span_id: String,
    name: &'a str,
    kind: u8,
    start_time_unix_nano: String,
    end_time_unix_nano: String,
    attributes: Vec<Attribute<'a>>,
    status: Status<'a>,
}

#[derive(Serialize)]
struct Status<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct Attribute<'a> {
    key: &'a str,
    value: AnyValue<'a>,
}

#[derive(Serialize)]
enum AnyValue<'a> {
    #[serde(rename = "boolValue")]
    Bool(bool),
    #[serde(rename = "intValue")]
    Int(String),
    #[serde(rename = "stringValue")]
    Text(Cow<'a, str>),
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nanos = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
            since.as_nanos().to_string()
        };
        let text = SpanText {
            trace_id: self.trace.to_string(),
            span_id: self.id.to_string(),
            parent_span_id: self.parent.map_or_else(String::new, |p| p.to_string()),
            name: &self.name,
            kind: self.kind as u8,
            start_time_unix_nano: nanos(self.begun),
            end_time_unix_nano: nanos(self.begun + self.took),
            attributes: attributes(&self.attributes),
            status: Status {
                code: self.error.as_ref().map(|_| FAILED),
                message: self.error.as_deref(),
            },
        };
        text.serialize(serializer)
    }
}

fn attributes<'a>(pairs: &'a [(&str, Value)]) -> Vec<Attribute<'a>> {
    let attribute = |(key, value): &'a (&str, Value)| Attribute {
        key,
        value: match value {
            Value::Bool(value) => AnyValue::Bool(*value),
            Value::Number(number) => AnyValue::Int(number.to_string()),
            Value::String(text) => AnyValue::Text(Cow::Borrowed(text)),
            other => AnyValue::Text(Cow::Owned(other.to_string())),
        },
    };
    pairs.iter().map(attribute).collect()
}
