//! Spans as OTLP's JSON, <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>: ids in
//! hexadecimal digits, 64-bit numbers as text.

use super::{SpanId, TraceId};
use serde_json::{Value, json};
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
    let scope = json!({"name": "lakh", "version": env!("CARGO_PKG_VERSION")});
    let resource = [("service.name", json!(service))];
    let spans: Vec<Value> = spans.iter().map(span).collect();
    let whole = json!({
        "resourceSpans": [{
            "resource": {"attributes": attributes(&resource)},
            "scopeSpans": [{"scope": scope, "spans": spans}],
        }],
    });
    whole.to_string().into_bytes()
}

fn span(span: &Span) -> Value {
    let nanos = |time: SystemTime| {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_nanos().to_string()
    };
    let status = match &span.error {
        Some(why) => json!({"code": FAILED, "message": why}),
        None => json!({}),
    };
    json!({
        "traceId": span.trace.to_string(),
        "spanId": span.id.to_string(),
        "parentSpanId": span.parent.map_or(String::new(), |parent| parent.to_string()),
        "name": span.name,
        "kind": span.kind as u8,
        "startTimeUnixNano": nanos(span.begun),
        "endTimeUnixNano": nanos(span.begun + span.took),
        "attributes": attributes(&span.attributes),
        "status": status,
    })
}

fn attributes(pairs: &[(&str, Value)]) -> Vec<Value> {
    let value = |value: &Value| match value {
        Value::Bool(value) => json!({"boolValue": value}),
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text}),
        other => json!({"stringValue": other.to_string()}),
    };
    let pairs = pairs.iter();
    pairs
        .map(|(key, v)| json!({"key": key, "value": value(v)}))
        .collect()
}
