//! JSON Schema as far as ours goes. What it doesn't know fails, so that nothing in the schema is
//! taken for checked that isn't.

use regex::Regex;
use serde_json::Value;

/// An error says where, and what is wrong there.
pub fn validate(schema: &Value, value: &Value) -> Result<(), String> {
    let keywords = schema.as_object().expect("a schema is an object");
    for (keyword, says) in keywords {
        let holds = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" => true,
            "type" => is_of(says, value),
            "enum" => list(says).contains(value),
            "minimum" => value.as_u64().is_none_or(|n| Some(n) >= says.as_u64()),
            "maximum" => value.as_u64().is_none_or(|n| Some(n) <= says.as_u64()),
            "pattern" => value
                .as_str()
                .is_none_or(|text| pattern(says).is_match(text)),
            "required" => list(says).iter().all(|key| {
                let key = key.as_str().expect("a key");
                value.as_object().is_none_or(|keys| keys.contains_key(key))
            }),
            "anyOf" => return any_of(list(says), value),
            "items" => {
                let items = value.as_array().into_iter().flatten().enumerate();
                items
                    .into_iter()
                    .try_for_each(|(n, item)| within(&format!("[{n}]"), says, item))?;
                true
            }
            "properties" | "additionalProperties" => true,
            other => panic!("`{other}` is not checked here"),
        };
        if !holds {
            return Err(format!(" is {value}, against {keyword}: {says}"));
        }
    }
    properties(schema, value)
}

fn properties(schema: &Value, value: &Value) -> Result<(), String> {
    let others = schema.get("additionalProperties");
    for (key, value) in value.as_object().into_iter().flatten() {
        let known = schema.get("properties").and_then(|known| known.get(key));
        match known.or(others) {
            None => {}
            Some(Value::Bool(false)) => return Err(format!(".{key} is unknown")),
            Some(schema) => within(&format!(".{key}"), schema, value)?,
        }
    }
    Ok(())
}

fn within(place: &str, schema: &Value, value: &Value) -> Result<(), String> {
    validate(schema, value).map_err(|why| format!("{place}{why}"))
}

/// Of all that it is not, what it came nearest to.
fn any_of(ways: &[Value], value: &Value) -> Result<(), String> {
    let mut whys = Vec::new();
    for way in ways {
        match validate(way, value) {
            Ok(()) => return Ok(()),
            Err(why) => whys.push(why),
        }
    }
    Err(whys.into_iter().max_by_key(String::len).unwrap_or_default())
}

fn is_of(says: &Value, value: &Value) -> bool {
    let is = |name: &Value| match name.as_str().expect("a type's name") {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_u64() || value.is_i64(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("no type is called {other}"),
    };
    match says {
        Value::Array(names) => names.iter().any(is),
        name => is(name),
    }
}

fn list(says: &Value) -> &[Value] {
    says.as_array().expect("a list")
}

fn pattern(says: &Value) -> Regex {
    Regex::new(says.as_str().expect("a pattern")).expect("a regular expression")
}
