//! Reads a JSON object field by field and remembers every fault, so that a form can be corrected
//! in one go. A faulty field yields a default that `finish` never lets out.

use serde::Serialize;
use serde_json::{Map, Value};
use std::{fmt, ops::RangeInclusive};
use time::Date;

use super::clock::Moment;
use super::days::day;

const NO_MOMENT: &str = "must be a moment, as 2026-05-31T18:00:00Z";

pub const NO_DAY: &str = "must be a day, as 2026-05-31";

/// Everything wrong with one input; never empty.
#[derive(Debug, PartialEq)]
pub struct Invalid(pub Vec<Fault>);

#[derive(Debug, PartialEq, Serialize)]
pub struct Fault {
    pub field: String,
    pub detail: String,
}

/// What is wrong so far with what is not a JSON object, as a query.
#[derive(Default)]
pub struct Faults(Vec<Fault>);

impl Faults {
    pub fn note(&mut self, field: &str, is_good: bool, detail: &str) {
        if !is_good {
            self.0.push(Fault {
                field: field.into(),
                detail: detail.into(),
            });
        }
    }

    pub fn finish<T>(self, value: T) -> Result<T, Invalid> {
        match self.0.is_empty() {
            true => Ok(value),
            false => Err(Invalid(self.0)),
        }
    }
}

/// `patch` laid over what is there. RFC 7396.
pub fn merged(seen: &impl Serialize, patch: Value) -> Value {
    let seen = serde_json::to_value(seen).expect("what is there has only text keys");
    merge(seen, patch)
}

/// A body that is no object is no patch of one, which whoever reads it says. As deep as JSON is read.
fn merge(seen: Value, patch: Value) -> Value {
    let Value::Object(changes) = patch else {
        return patch;
    };
    let mut fields = match seen {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    for (name, change) in changes {
        let before = fields.remove(&name).unwrap_or_default();
        if !change.is_null() {
            fields.insert(name, merge(before, change));
        }
    }
    Value::Object(fields)
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
            // No database and no page shows NUL as what it is.
            Some(Value::String(text)) if text.contains('\0') => {
                return self.fault(field, "must not contain NUL");
            }
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

    /// As `text`, where there may be none.
    pub fn optional_text(&mut self, field: &str, length: RangeInclusive<usize>) -> Option<String> {
        let there = self.object.get(field).is_some_and(|value| !value.is_null());
        let text = there.then(|| self.text(field, length));
        // What is null has been read.
        self.object.remove(field);
        text
    }

    /// One of a few words, where there may be none.
    pub fn word<T: Copy + fmt::Display>(&mut self, field: &str, words: &[T]) -> Option<T> {
        let value = self.take(field)?;
        let is_it = |word: &&T| value.as_str() == Some(word.to_string().as_str());
        let found = words.iter().find(is_it).copied();
        if found.is_none() {
            let words: Vec<_> = words.iter().map(T::to_string).collect();
            self.fault::<()>(field, format!("must be one of {}", words.join(", ")));
        }
        found
    }

    /// A day as 2026-05-31, where there may be none.
    pub fn optional_day(&mut self, field: &str) -> Option<Date> {
        let value = self.take(field)?;
        let day = value.as_str().and_then(day);
        if day.is_none() {
            self.fault::<()>(field, NO_DAY);
        }
        day
    }

    /// A required day as 2026-05-31. Some day, where there is none.
    pub fn day(&mut self, field: &str) -> Date {
        if self.object.get(field).is_none_or(Value::is_null) {
            self.object.remove(field);
            self.fault::<()>(field, "is required");
            return Date::MIN;
        }
        self.optional_day(field).unwrap_or(Date::MIN)
    }

    /// Yes or no, where there may be neither.
    pub fn optional_flag(&mut self, field: &str) -> Option<bool> {
        match self.take(field)? {
            Value::Bool(flag) => Some(flag),
            _ => {
                self.fault::<()>(field, "must be true or false");
                None
            }
        }
    }

    /// A required whole number.
    pub fn integer(&mut self, field: &str, range: RangeInclusive<i64>) -> i64 {
        let Some(value) = self.take(field) else {
            return self.fault(field, "is required");
        };
        match whole(&value) {
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

    /// As `integer`, where there may be none.
    pub fn optional_integer(&mut self, field: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let there = self.object.get(field).is_some_and(|value| !value.is_null());
        let number = there.then(|| self.integer(field, range));
        self.object.remove(field);
        number
    }

    /// A required number of degrees, in millionths.
    pub fn degrees(&mut self, field: &str, most: i32) -> i64 {
        let Some(value) = self.take(field) else {
            return self.fault(field, "is required");
        };
        match value.as_f64() {
            Some(degrees) if degrees.abs() <= f64::from(most) => (degrees * 1e6).round() as i64,
            _ => self.fault(field, format!("must be a number from -{most} to {most}")),
        }
    }

    /// A required moment. Some moment, where there is none.
    pub fn moment(&mut self, field: &str) -> Moment {
        let Some(value) = self.take(field) else {
            self.fault::<()>(field, "is required");
            return Moment(0);
        };
        let moment = value.as_str().and_then(Moment::read);
        moment.unwrap_or_else(|| {
            self.fault::<()>(field, NO_MOMENT);
            Moment(0)
        })
    }

    /// A required list. Faults of an item name its place too, as `free/0/from`.
    pub fn list<T>(
        &mut self,
        field: &str,
        length: RangeInclusive<usize>,
        read: impl Fn(Value) -> Result<T, Invalid>,
    ) -> Vec<T> {
        let items = match self.take(field) {
            Some(Value::Array(items)) if length.contains(&items.len()) => items,
            Some(_) => {
                let (least, most) = (length.start(), length.end());
                return self.fault(field, format!("must be a list of {least} to {most}"));
            }
            None => return self.fault(field, "is required"),
        };
        let mut good = Vec::with_capacity(items.len());
        for (place, item) in items.into_iter().enumerate() {
            match read(item) {
                Ok(item) => good.push(item),
                Err(Invalid(faults)) => self.faults.extend(faults.into_iter().map(|fault| {
                    let path = format!("{field}/{place}/{}", fault.field);
                    Fault {
                        field: path.trim_end_matches('/').into(),
                        detail: fault.detail,
                    }
                })),
            }
        }
        good
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

    /// For what only several fields together can be wrong about: not said where one of them is.
    pub fn fault_unless(&mut self, is_so: bool, field: &str, detail: &str) {
        if !is_so && self.faults.is_empty() {
            self.fault::<()>(field, detail);
        }
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

/// JSON has one kind of number: 5.0 is 5. Above 2^53 what was meant can't be told.
fn whole(value: &Value) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let as_whole =
        |number: f64| (number.fract() == 0.0 && number.abs() < EXACT).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(as_whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// RFC 7396, appendix A.
    #[test]
    fn patches_are_laid_over_as_the_standard_s_examples_are() {
        for (seen, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (json!({"a": "b"}), json!(["c"]), json!(["c"])),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            assert_eq!(merged(&seen, patch.clone()), result, "{patch}");
        }
    }
}
