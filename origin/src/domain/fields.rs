//! Reads a JSON object field by field and remembers every fault, so that a form can be corrected
//! in one go. A faulty field yields a default that `finish` never lets out.

use serde::Serialize;
use serde_json::{Map, Value};
use std::ops::RangeInclusive;

/// Everything wrong with one input; never empty.
#[derive(Debug, PartialEq)]
pub struct Invalid(pub Vec<Fault>);

#[derive(Debug, PartialEq, Serialize)]
pub struct Fault {
    pub field: String,
    pub detail: String,
}

pub struct Fields {
    object: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Fields {
    pub fn of(body: Value) -> Result<Self, Invalid> {
        match body {
            Value::Object(object) => Ok(Self {
                object,
                faults: Vec::new(),
            }),
            _ => Err(Invalid(vec![Fault {
                field: String::new(),
                detail: "the body must be a JSON object".into(),
            }])),
        }
    }

    /// Required text, trimmed, with its length in characters.
    pub fn text(&mut self, field: &str, length: RangeInclusive<usize>) -> String {
        let text = match self.take(field) {
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(_) => return self.fault(field, "must be text"),
            None => return self.fault(field, "is required"),
        };
        if length.contains(&text.chars().count()) {
            return text;
        }
        let (least, most) = (length.start(), length.end());
        self.fault(field, format!("must have {least} to {most} characters"))
    }

    /// A required whole number.
    pub fn integer(&mut self, field: &str, range: RangeInclusive<i64>) -> i64 {
        let Some(value) = self.take(field) else {
            return self.fault(field, "is required");
        };
        match value.as_i64() {
            Some(number) if range.contains(&number) => number,
            _ => {
                let (least, most) = (range.start(), range.end());
                self.fault(
                    field,
                    format!("must be a whole number from {least} to {most}"),
                )
            }
        }
    }

    /// `null` counts as absent, as a JSON merge patch means it. RFC 7396 §1.
    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.object.remove(field).filter(|value| !value.is_null())
    }

    pub fn fault<T: Default>(&mut self, field: &str, detail: impl Into<String>) -> T {
        self.faults.push(Fault {
            field: field.into(),
            detail: detail.into(),
        });
        T::default()
    }

    /// The value, if nothing was wrong. What is left unread is a misspelling and said so.
    pub fn finish<T>(mut self, value: T) -> Result<T, Invalid> {
        let unread: Vec<String> = self.object.keys().cloned().collect();
        for field in unread {
            self.fault::<()>(&field, "is not a known field");
        }
        if self.faults.is_empty() {
            Ok(value)
        } else {
            Err(Invalid(self.faults))
        }
    }
}
