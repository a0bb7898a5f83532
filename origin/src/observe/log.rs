//! One JSON object per line on standard error, for the few events worth a line: start, stop, and
//! what the operator must look into. Requests are logged by the edge. A line says which request it
//! belongs to, and nothing about people.

use super::{mask::mask, request};
use serde_json::{Value, json};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn info(event: &str, about: Value) {
    write("info", event, about);
}

pub fn error(event: &str, about: Value) {
    write("error", event, about);
}

fn write(level: &str, event: &str, about: Value) {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let mut line = json!({ "time": now.as_secs_f64(), "level": level, "event": event });
    if let (Value::Object(line), Value::Object(about)) = (&mut line, mask(about)) {
        line.extend(about);
        line.extend(request::id().map(|id| ("request_id".into(), id.into())));
    }
    // With standard error gone there is nobody left to tell.
    let _ = writeln!(std::io::stderr(), "{line}");
}
